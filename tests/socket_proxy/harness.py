"""The socket proxy as a process in front of this machine's engine."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker

from sandboxes.runtime.docker import DockerRuntime
from tests.harness.runtimes import SUBNETS, DockerHarness
from tests.helpers.wait import wait_for

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "deploy" / "docker_socket_proxy.py"


class ProxiedHarness(DockerHarness):
    """A harness whose runtime uses the proxy, while the test itself uses the engine directly."""

    def __init__(self, image: str, path: Path) -> None:
        self.path = path
        super().__init__(image)

    def new_runtime(self, subnets: IPv4Network = SUBNETS, **options: Any) -> DockerRuntime:
        return super().new_runtime(subnets, **{"engine_url": f"unix://{self.path}"} | options)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        return ask(self.path, method, path, None if body is None else json.dumps(body).encode())


def ask(path: Path, method: str, target: str, content: bytes | None = None) -> tuple[int, str]:
    """Send one request to a socket; return status and body of the answer."""
    connection = http.client.HTTPConnection("engine", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    try:
        connection.request(method, target, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def listens(path: Path) -> bool:
    """Return whether a server accepts connections; the path exists a moment earlier."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(str(path))
        return True
    return False


@contextmanager
def running_proxy(path: Path, **environment: str) -> Iterator[Path]:
    """Run the proxy with these environment variables; yield the path of its log."""
    log = path.with_suffix(".log")
    with running_program([sys.executable, PROGRAM, path], log, environment):
        wait_for(lambda: listens(path), "the proxy listens")
        yield log


@contextmanager
def running_program(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={"PATH": os.environ["PATH"]} | environment, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def foreign_objects(client: docker.APIClient, image: str) -> Iterator[tuple[str, str]]:
    """Run another program's container in a Compose project's network; yield both names."""
    token = secrets.token_hex(4)
    name, network_name = f"foreign-{token}", f"project{token}_default"
    network = client.create_network(network_name)["Id"]
    try:
        container = client.create_container(
            image,
            ["sh", "-c", "echo foreign-secret; sleep 3600"],
            name=name,
            environment={"PASSWORD": "foreign-secret"},
            networking_config=client.create_networking_config(
                {network: client.create_endpoint_config()}
            ),
        )["Id"]
        try:
            client.start(container)
            yield name, network_name
        finally:
            client.remove_container(container, force=True)
    finally:
        client.remove_network(network)
