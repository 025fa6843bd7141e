"""A second Docker Engine on the machine, which experiments can restart."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from docker import APIClient
from docker.errors import DockerException

from tests.helpers.wait import wait_for


class Daemon:
    """An engine with its own data root, bridge and socket; it doesn't change the firewall."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root, self.options = root, options
        self.bridge = f"chaos{secrets.token_hex(3)}"
        self.socket = str(root / "docker.sock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine and wait until it responds."""
        with (self.root / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        wait_for(self._responds, "the second engine responds", 60, 0.05)

    def _command(self) -> list[str]:
        folders = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}
        return [
            "dockerd",
            *(f"--{option}={self.root / name}" for option, name in folders.items()),
            f"--host=unix://{self.socket}",
            f"--bridge={self.bridge}",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            *self.options,
        ]

    def _responds(self) -> bool:
        with suppress(DockerException, OSError):
            return bool(APIClient(f"unix://{self.socket}", timeout=5).ping())
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the engine and its containers, as the service manager does.

        With SIGKILL, crash the engine together with everything that it runs.
        """
        assert self.process
        if number == signal.SIGKILL:
            self._kill_everything()
        self.process.send_signal(number)
        self.process.wait(60)

    def _kill_everything(self) -> None:
        """Kill daemon, containerd, shims and services, as if the host lost power."""
        ours = [pid for pid in processes() if str(self.root).encode() in command(pid)]
        for pid in [*descendants(ours), *ours]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def descendants(pids: list[int]) -> list[int]:
    """Return all descendants of the processes."""
    found: list[int] = []
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            own = [int(child) for child in text.split()]
            found += [*own, *descendants(own)]
    return found


def unmount(root: Path) -> None:
    """Unmount what a crashed engine has left, the latest mount first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([path for path in mounts if path.startswith(f"{root}/")]):
        subprocess.run(["umount", mount], check=False)


@contextmanager
def second_engine(image: str, *options: str) -> Iterator[Daemon]:
    """Start an engine with a copy of the image; remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="portal-engine-", ignore_cleanup_errors=True) as folder:
        daemon = Daemon(Path(folder), *options)
        subprocess.run(["ip", "link", "add", daemon.bridge, "type", "bridge"], check=True)
        try:
            subprocess.run(
                [
                    "ip",
                    "addr",
                    "add",
                    f"10.253.{secrets.randbelow(250)}.1/24",
                    "dev",
                    daemon.bridge,
                ],
                check=True,
            )
            daemon.start()
            exported = APIClient().get_image(image)
            APIClient(f"unix://{daemon.socket}").load_image(b"".join(exported))
            yield daemon
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.stop()
            subprocess.run(["ip", "link", "delete", daemon.bridge], check=True)
            unmount(daemon.root)
