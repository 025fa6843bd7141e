"""A virtual machine with Debian 13: systemd, a kernel and control groups of its own.

QEMU emulates the processor, so that no support for virtual machines is needed; each step takes
several times as long as on this machine. The machine reaches package registries through QEMU's
user-mode network, and this machine reaches its ports at an address of the loopback network.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.wait import wait_for
from tests.install.machine import HOSTS, Machine, bootstrap, trust_authorities

SUITE = "trixie"
PACKAGES = ("systemd-sysv", "linux-image-cloud-amd64", "openssh-server", "iproute2", "udev", "dbus")
DISK = "24G"
"""The file is sparse."""
MEMORY = "5G"
PORTS = {22: 2222, 80: 80, 443: 443, 5432: 5432}
"""Ports of the machine, and those at its address under which they are reached."""
BOOT_SECONDS = 600
NETWORK = """[Match]
Name=en*
[Network]
DHCP=yes
"""
FIRST_NAME_SERVER = "nameserver 10.0.2.3\n"
"""QEMU's own, which asks those of this machine."""


class VirtualMachine(Machine):
    """A machine in QEMU, whose root accepts an SSH key that was made for it."""

    max_seconds = 2400
    slowness = 10.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"127.205.{random.randrange(1, 250)}.2"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, text: str) -> list[str]:
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "30",
        }
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        target = ["-i", str(self.folder / "key"), "-p", str(PORTS[22]), f"root@{self.address}"]
        return ["ssh", *flags, *target, text]

    def start(self) -> None:
        forwarded = ",".join(
            f"hostfwd=tcp:{self.address}:{here}-:{there}" for there, here in PORTS.items()
        )
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64",
                *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
                *("-m", MEMORY, "-display", "none", "-no-reboot"),
                *("-serial", f"file:{self.folder / 'console.log'}"),
                *("-kernel", str(self.folder / "vmlinuz"), "-initrd", str(self.folder / "initrd")),
                *("-append", "root=/dev/vda rw console=ttyS0 quiet"),
                "-drive",
                f"file={self.folder / 'disk'},if=virtio,format=raw,cache=unsafe,discard=unmap",
                *(
                    "-netdev",
                    f"user,id=network,{forwarded}",
                    "-device",
                    "virtio-net,netdev=network",
                ),
            ],
            stdin=subprocess.DEVNULL,
        )
        wait_for(self._is_up, "the virtual machine has booted", BOOT_SECONDS, 3)

    def _is_up(self) -> bool:
        assert self.process
        assert self.process.poll() is None, "QEMU has ended"
        state = self.run("systemctl is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def reboot(self) -> None:
        """Shut the machine down as its administrator would, and start it again."""
        self.run("systemctl reboot", check=False)
        assert self.process
        # With -no-reboot, QEMU ends where the machine would boot again.
        self.process.wait(timeout=BOOT_SECONDS)
        self.start()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)


def modern_debian(archive: Path) -> None:
    """Make an archive of a Debian that boots with systemd and a network."""
    bootstrap(archive, SUITE, *PACKAGES)


@contextmanager
def virtual_machine(folder: Path, archive: Path) -> Iterator[VirtualMachine]:
    """Start a virtual machine; remove it at the end."""
    _make_disk(folder, archive)
    machine = VirtualMachine(folder)
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(folder)


def _make_disk(folder: Path, archive: Path) -> None:
    """Make the machine's disk, its kernel, and a key for its root."""
    root = folder / "root"
    root.mkdir()
    subprocess.run(["tar", "-C", str(root), "-xpf", str(archive)], check=True)
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(key.with_suffix(".pub"), root / "root/.ssh/authorized_keys")
    (root / "etc/hostname").write_text("debian\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost debian {' '.join(HOSTS)}\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text(FIRST_NAME_SERVER)
    (root / "etc/systemd/network/wired.network").write_text(NETWORK)
    trust_authorities(root)
    enable = ["chroot", str(root), "systemctl", "enable", "--quiet", "systemd-networkd", "ssh"]
    subprocess.run(enable, check=True, stderr=subprocess.DEVNULL)
    for name in ("vmlinuz", "initrd"):
        [file] = (root / "boot").glob(f"{name}*-amd64")
        shutil.copy(file, folder / name)
    make = ["mke2fs", "-q", "-d", str(root), "-t", "ext4", str(folder / "disk"), DISK]
    subprocess.run(make, check=True)
    shutil.rmtree(root)
