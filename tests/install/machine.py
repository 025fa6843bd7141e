"""Machines to install the portal on, and a bare Debian in namespaces of its own.

The latter has its own processes, mounts, host name, network and Docker Engine, and no systemd. Only
the kernel, and the control groups' hierarchy, are this machine's. `virtual_machine` has another.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.wait import wait_for

SUITE = "bookworm"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
HOSTS = ("portal.example.com", "sbx-check.sandboxes.example.net")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
BOOT = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
cd "$ROOT"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
# Otherwise Debian's cgroupfs-mount would mount the other controllers. They would outlive the
# machine, and the engine of this one would no longer notice that a container lacks memory.
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
    for controller in $(awk '!/^#/ && $2 == 0 { print $1 }' /proc/cgroups); do
        mkdir -p "sys/fs/cgroup/$controller"
        mount -t tmpfs -o ro none "sys/fs/cgroup/$controller"
    done
fi
mount -t tmpfs -o mode=755,dev tmpfs dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p .host
pivot_root . .host
umount -l /.host
hostname debian
sysctl -qw net.ipv4.ip_forward=1 2>/dev/null || echo 1 >/proc/sys/net/ipv4/ip_forward
exec sleep infinity
"""


class Machine(ABC):
    """A machine on which tests run commands as root."""

    address: str
    """Where this machine reaches the other's ports."""
    max_seconds = 600
    """The bar for an installation with a sandbox that was used and destroyed."""
    slowness = 1.0
    """How many times as long as here the machine takes, about."""

    @abstractmethod
    def command(self, text: str) -> list[str]:
        """Return a command of this machine that lets the other's shell run a text as root."""

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        seconds: float = 900,
        text_input: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the machine's root, with the environment of a login."""
        text = command if isinstance(command, str) else shlex.join(command)
        done = subprocess.run(
            self.command(f"cd /root\n{text}"),
            env=ENVIRONMENT,
            input=text_input,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{text}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def read_text(self, path: str) -> str:
        return self.run(["cat", path]).stdout

    def link_target(self, path: str) -> str:
        return self.run(["readlink", path]).stdout.strip()

    def copy_tree(self, source: Path, target: str) -> None:
        """Copy what is in a directory of this machine to a directory of the other."""
        archive = subprocess.run(
            ["tar", "-C", str(source), "-cf", "-", "."], check=True, capture_output=True
        ).stdout
        receive = f"mkdir -p {target} && tar -C {target} -xf -"
        subprocess.run(self.command(receive), env=ENVIRONMENT, input=archive, check=True)


class BareMachine(Machine):
    """A machine whose first process is `sleep`; it ends with that process."""

    def __init__(self, root: Path, number: int) -> None:
        self.root, self.number = root, number
        self.address = f"10.205.{self.number}.2"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def _link(self) -> str:
        return f"bare{self.number}"

    @property
    def _gateway(self) -> str:
        return f"10.205.{self.number}.1"

    def start(self) -> None:
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child"]
        self.process = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", BOOT],
            env={"PATH": os.environ["PATH"], "ROOT": str(self.root)},
            start_new_session=True,
        )
        wait_for(lambda: self._first_pid() != 0, "the machine starts")
        self._connect()
        wait_for(lambda: self.run("true", check=False).returncode == 0, "the machine responds")

    def _first_pid(self) -> int:
        """Return the ID of the machine's first process as this machine sees it; 0 if none."""
        assert self.process
        assert self.process.poll() is None, "the machine didn't start"
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        pid = int(children.split()[0]) if children.split() else 0
        return pid if pid and Path(f"/proc/{pid}/comm").read_text() == "sleep\n" else 0

    def _connect(self) -> None:
        """Connect the machine to this one, which forwards its packets to other networks."""
        inside = f"{self._link}p"
        pid = self._first_pid()
        for line in (
            f"ip link add {self._link} type veth peer name {inside} netns {pid}",
            f"ip addr add {self._gateway}/30 dev {self._link}",
            f"ip link set {self._link} up",
            f"nsenter -t {pid} -n ip link set lo up",
            f"nsenter -t {pid} -n ip addr add {self.address}/30 dev {inside}",
            f"nsenter -t {pid} -n ip link set {inside} up",
            f"nsenter -t {pid} -n ip route add default via {self._gateway}",
            *(f"iptables -I {rule}" for rule in self._rules()),
        ):
            subprocess.run(line.split(), check=True)
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")

    def _rules(self) -> list[str]:
        return [
            f"FORWARD -i {self._link} -j ACCEPT",
            f"FORWARD -o {self._link} -j ACCEPT",
            f"POSTROUTING -t nat -s {self.address} -j MASQUERADE",
        ]

    def stop(self) -> None:
        if not self.process:
            return
        # As root of the machine would: the engine stops its containers.
        self.run(
            "kill $(cat /run/docker.pid) && while [ -e /run/docker.pid ]; do sleep 0.1; done",
            check=False,
        )
        for rule in self._rules():
            subprocess.run(["iptables", "-D", *rule.split()], check=False)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        subprocess.run(["ip", "link", "delete", self._link], check=False, stderr=subprocess.DEVNULL)

    def command(self, text: str) -> list[str]:
        namespaces = ["-m", "-p", "-u", "-i", "-n"]
        return ["nsenter", "-t", str(self._first_pid()), *namespaces, "/bin/bash", "-c", text]


def bare_debian(archive: Path) -> None:
    """Make an archive of a bare Debian: essential packages and apt."""
    bootstrap(archive, SUITE)


def bootstrap(archive: Path, suite: str, *packages: str) -> None:
    """Make an archive of a minimal Debian with packages, unless there is one."""
    if archive.exists():
        return
    unfinished = archive.with_stem(f"{archive.stem}-unfinished")
    included = [f"--include={','.join(packages)}"] if packages else []
    command = ["mmdebstrap", "--quiet", "--variant=minbase", *included, suite, str(unfinished)]
    subprocess.run(command, check=True)
    unfinished.replace(archive)


@contextmanager
def bare_machine(directory: Path, archive: Path, number: int = 0) -> Iterator[BareMachine]:
    """Start a bare Debian machine; remove it at the end."""
    number = number or random.randrange(1, 250)
    root = directory / "root"
    if not root.exists():
        unpack(archive, root)
    machine = BareMachine(root, number)
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(root)


def unpack(archive: Path, root: Path) -> None:
    root.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(root), "-xpf", str(archive)], check=True)
    # No DNS server knows these names, which the doctor tries.
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {' '.join(HOSTS)}\n")
    trust_authorities(root)


def trust_authorities(root: Path) -> None:
    """Let pip trust this machine's authorities: the network of tests may have its own."""
    (root / "etc/tests").mkdir()
    shutil.copy(AUTHORITIES, root / "etc/tests/authorities.pem")
    (root / "etc/pip.conf").write_text("[global]\ncert = /etc/tests/authorities.pem\n")


if __name__ == "__main__":
    bare_debian(Path(sys.argv[1]))
