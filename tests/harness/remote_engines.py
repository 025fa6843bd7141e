"""Engines in network namespaces of this machine, behind socket proxies over TLS on both sides.

Each namespace stands for a machine: it has an address, its own ports and a cable to pull.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker import APIClient
from docker.errors import DockerException

from sandboxes.preparation.engine_certificates import OPERATOR, PORTAL, Authority
from sandboxes.runtime import EngineConnection
from tests.chaos.daemon import unmount
from tests.helpers.wait import wait_for
from tests.socket_proxy.harness import PROGRAM

PORT = 2376
INSTANCE = "tests-remote"
SUBNETS = "10.214.0.0/16"
"""Those of all runtimes in tests."""


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


@dataclass
class RemoteEngine:
    """An engine in a namespace of its own."""

    name: str
    address: str
    root: Path
    certificates: Path
    """The portal's."""
    process: subprocess.Popen[bytes] | None = None
    proxy: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        return f"unix://{self.root / 'docker.sock'}"

    @property
    def authority(self) -> Path:
        """The directory of the CA, with the operator's certificate."""
        return self.certificates.parent / "ca"

    @property
    def connection(self) -> EngineConnection:
        url = f"tcp://{self.address}:{PORT}"
        return EngineConnection(url, self.address, certificates=self.certificates)

    def start(self) -> None:
        self.root.mkdir()
        folders = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}
        command = [
            "nsenter",
            f"--net=/run/netns/{self.name}",
            *("unshare", "--uts", "dockerd"),
            *(f"--{option}={self.root / name}" for option, name in folders.items()),
            f"--host={self.socket}",
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
        ]
        with (self.root / "dockerd.log").open("ab") as log:
            # Descriptors of the test's own must not stay open in the daemon.
            self.process = subprocess.Popen(command, stdout=log, stderr=log, close_fds=True)

    def start_proxy(self, authority: Authority, instance: str = INSTANCE) -> None:
        own = self.root / "certificates"
        authority.issue_for_engine(own, self.name, [self.address])
        command = [
            *("nsenter", f"--net=/run/netns/{self.name}", sys.executable, PROGRAM),
            *("--tls", f"{self.address}:{PORT}", "--certificates", own),
        ]
        environment = {
            "PATH": os.environ["PATH"],
            "SANDBOX_INSTANCE": instance,
            "SANDBOX_SUBNETS": SUBNETS,
            "SANDBOX_BIND_ADDRESS": self.address,
            "ENGINE_SOCKET": self.socket.removeprefix("unix://"),
        }
        with (self.root / "proxy.log").open("ab") as log:
            self.proxy = subprocess.Popen(command, env=environment, stderr=log)

    def responds(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.root / "dockerd.log").read_text()
        with suppress(DockerException, OSError):
            return bool(APIClient(self.socket, timeout=5).ping())
        return False

    def stop(self) -> None:
        for process in (self.proxy, self.process):
            if process:
                process.terminate()
                process.wait(60)

    def pull_cable(self) -> None:
        run(f"ip link set {self.name}h down")

    def plug_cable(self) -> None:
        run(f"ip link set {self.name}h up")


@contextmanager
def _namespace(name: str, bridge: str, address: str) -> Iterator[None]:
    try:
        run(f"ip netns add {name}")
        run(f"ip link add {name}h type veth peer name eth0 netns {name}")
        run(f"ip link set {name}h master {bridge} up")
        run(f"ip -n {name} address add {address}/24 dev eth0")
        run(f"ip -n {name} link set eth0 up")
        run(f"ip -n {name} link set lo up")
        yield
    finally:
        subprocess.run(["ip", "link", "delete", f"{name}h"], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", name], check=False)


@contextmanager
def running_engines(image: str, count: int = 3) -> Iterator[list[RemoteEngine]]:
    """Start engines side by side, each with a copy of the image; remove them afterwards."""
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="portal-fleet-", ignore_cleanup_errors=True)
        root = Path(stack.enter_context(folder))
        stack.callback(unmount, root)
        own, third = f"pf{os.getpid() % 100_000}", random.randrange(256)
        bridge = f"{own}br"
        run(f"ip link add {bridge} type bridge")
        stack.callback(run, f"ip link delete {bridge}")
        run(f"ip address add 10.207.{third}.254/24 dev {bridge}")
        run(f"ip link set {bridge} up")
        addresses = [f"10.207.{third}.{number}" for number in range(1, count + 1)]
        authority = Authority.open(root / "ca", "only for these tests")
        certificates = root / "certificates"
        authority.issue_for_client(certificates, PORTAL)
        authority.issue_for_client(root / "ca" / "operator", OPERATOR)
        engines = []
        for number, address in enumerate(addresses, 1):
            name = f"{own}n{number}"
            stack.enter_context(_namespace(name, bridge, address))
            engine = RemoteEngine(name, address, root / name, certificates)
            stack.callback(engine.stop)
            engine.start()
            engines.append(engine)
        for engine in engines:
            wait_for(engine.responds, "the engine responds", 60, 0.05)
            engine.start_proxy(authority)
        exported = b"".join(APIClient().get_image(image))
        for engine in engines:
            APIClient(engine.socket).load_image(exported)
        yield engines


@pytest.fixture(scope="module")
def remote_engines(tiny_image: str) -> Iterator[list[RemoteEngine]]:
    with running_engines(tiny_image) as engines:
        yield engines
