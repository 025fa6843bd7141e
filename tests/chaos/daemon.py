"""A second Docker Engine on the machine, which experiments can restart."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import DockerException

from tests.helpers.wait import wait_for

BRIDGE_ADDRESSES = IPv4Address("10.208.0.0")
SANDBOX_ADDRESSES = IPv4Address("10.128.0.0")
MAX_ENGINES = 64


@dataclass(frozen=True)
class EngineNetwork:
    """A default bridge and a range for sandboxes, which belong to one engine of the machine.

    Engines don't know each other's networks. If two of them used the same subnet, the machine would
    send packets for the newer network to the older one.
    """

    number: int

    @property
    def bridge(self) -> str:
        return f"tests-engine{self.number}"

    @property
    def is_free(self) -> bool:
        """Whether the machine has no route into the range, for example of a crashed engine."""
        return not any(route.subnet_of(self.subnets) for route in routes())

    @property
    def gateway(self) -> str:
        """The bridge's address in its own network."""
        return f"{BRIDGE_ADDRESSES + (self.number << 8) + 1}/24"

    @property
    def subnets(self) -> IPv4Network:
        return IPv4Network((SANDBOX_ADDRESSES + (self.number << 16), 16))


@contextmanager
def engine_network() -> Iterator[EngineNetwork]:
    """Create the bridge of a network that no other process on this machine has.

    Remove it afterwards, and those of its sandboxes, which an engine that crashes leaves behind.
    """
    numbers = random.sample(range(MAX_ENGINES), MAX_ENGINES)
    free = (one for one in map(EngineNetwork, numbers) if one.is_free)
    network = next(one for one in free if create_bridge(one.bridge))
    try:
        change = f"ip addr add {network.gateway} dev {network.bridge}"
        subprocess.run(change.split(), check=True)
        yield network
    finally:
        for bridge in [*bridges_in(network.subnets), network.bridge]:
            subprocess.run(["ip", "link", "delete", bridge], check=True)


def routes() -> list[IPv4Network]:
    """Return the destinations of the machine's routes, except for the default route."""
    found = {route["dst"] for route in _ip("route", "show", "table", "all")}
    return [IPv4Network(one) for one in found if one[0].isdigit()]


def bridges_in(subnets: IPv4Network) -> list[str]:
    """Return the bridges with an address in these subnets."""
    return [
        link["ifname"]
        for link in _ip("address", "show", "type", "bridge")
        if any(IPv4Address(address["local"]) in subnets for address in link["addr_info"])
    ]


def _ip(*arguments: str) -> list[dict[str, Any]]:
    """Return what `ip` lists about IPv4."""
    command = ["ip", "-json", "-4", *arguments]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: list[dict[str, Any]] = json.loads(listed or "[]")
    return [one for one in found if one]


def create_bridge(name: str) -> bool:
    """Create a bridge; return False if there is an interface of that name."""
    command = ["ip", "link", "add", name, "type", "bridge"]
    created = subprocess.run(command, capture_output=True, text=True, check=False)
    if "File exists" not in created.stderr:
        created.check_returncode()
    return created.returncode == 0


class Daemon:
    """An engine with its own data root, network and socket; it doesn't change the firewall."""

    def __init__(self, root: Path, network: EngineNetwork, *options: str) -> None:
        self.root, self.network, self.options = root, network, options
        self.socket = str(root / "docker.sock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine and wait until it responds."""
        log = self.root / "dockerd.log"
        with log.open("ab") as file:
            process = self.process = subprocess.Popen(self._command(), stdout=file, stderr=file)

        def responds_or_ended() -> bool:
            return self._responds() or process.poll() is not None

        wait_for(responds_or_ended, "the second engine responds", 60, 0.05)
        assert process.poll() is None, log.read_text()

    def _command(self) -> list[str]:
        folders = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}
        return [
            "dockerd",
            *(f"--{option}={self.root / name}" for option, name in folders.items()),
            f"--host=unix://{self.socket}",
            f"--bridge={self.network.bridge}",
            "--iptables=false",
            "--ip6tables=false",
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

    def stop_if_running(self) -> None:
        if self.process and self.process.poll() is None:
            self.stop()

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
def second_engine(image: str, *options: str, root: Path | None = None) -> Iterator[Daemon]:
    """Start an engine with a copy of the image; remove it afterwards.

    Its data is in `root`, by default in a temporary directory.
    """
    with ExitStack() as stack:
        if root is None:
            folder = tempfile.TemporaryDirectory(
                prefix="portal-engine-", ignore_cleanup_errors=True
            )
            root = Path(stack.enter_context(folder))
        stack.callback(unmount, root)
        daemon = Daemon(root, stack.enter_context(engine_network()), *options)
        stack.callback(daemon.stop_if_running)
        daemon.start()
        exported = APIClient().get_image(image)
        APIClient(f"unix://{daemon.socket}").load_image(b"".join(exported))
        yield daemon
