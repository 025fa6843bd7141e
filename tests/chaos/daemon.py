"""A second Docker Engine beside the machine's own, which may be restarted at will."""

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

from tests.waiting import until


class Daemon:
    """Has a root, a bridge and a socket of its own, and leaves the host's firewall alone."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bridge = f"chaos{secrets.token_hex(3)}"
        self.socket = str(home / "docker.sock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        with (self.home / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        until(self._answers, "the second engine answers", 60, 0.05)

    def _command(self) -> list[str]:
        folders = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}
        return [
            "dockerd",
            *(f"--{option}={self.home / name}" for option, name in folders.items()),
            f"--host=unix://{self.socket}",
            f"--bridge={self.bridge}",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]

    def _answers(self) -> bool:
        with suppress(DockerException, OSError):
            return bool(APIClient(f"unix://{self.socket}", timeout=5).ping())
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """As the system's own stop does, which also stops the containers; or SIGKILL, for a
        crash, which takes all that it runs along."""
        assert self.process
        if number == signal.SIGKILL:
            self._kill_everything()
        self.process.send_signal(number)
        self.process.wait(60)

    def _kill_everything(self) -> None:
        """A host that loses its power leaves none of them: daemon, containerd, shims, services."""
        ours = [pid for pid in processes() if str(self.home).encode() in command(pid)]
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
    """Their children, and the children of those."""
    found: list[int] = []
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            own = [int(child) for child in text.split()]
            found += [*own, *descendants(own)]
    return found


def unmount(home: Path) -> None:
    """An engine that crashed has left its mounts; the last made goes first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([one for one in mounts if one.startswith(f"{home}/")]):
        subprocess.run(["umount", mount], check=False)


@contextmanager
def second_engine(image: str) -> Iterator[Daemon]:
    """It holds that image of the first; nothing is left of it afterwards."""
    with tempfile.TemporaryDirectory(prefix="portal-engine-", ignore_cleanup_errors=True) as folder:
        daemon = Daemon(Path(folder))
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
            given = APIClient().get_image(image)
            APIClient(f"unix://{daemon.socket}").load_image(b"".join(given))
            yield daemon
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.stop()
            subprocess.run(["ip", "link", "delete", daemon.bridge], check=True)
            unmount(daemon.home)
