"""The fault-injecting Docker proxy changes only the requests that a test chooses."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.docker_proxy import (
    DELAY_SECONDS,
    Call,
    DockerProxy,
    Fault,
    run_docker_proxy,
)
from tests.helpers.wait import wait_for

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ASK = """
import http.client, socket, sys
caller = http.client.HTTPConnection("localhost")
caller.sock = socket.socket(socket.AF_UNIX)
caller.sock.connect(sys.argv[1])
for path in ("/first", "/second"):
    caller.request("GET", path)
    caller.getresponse().read()
"""


class Engine:
    """A fake engine that answers every request with two bytes and records what it received."""

    def __init__(self, path: Path) -> None:
        self.path, self.received = path, b""
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            threading.Thread(target=self.answer, args=[connection], daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                self.received += data
                connection.sendall(ANSWER)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path / "engine.sock")


@pytest.fixture
def proxy(tmp_path: Path, engine: Engine) -> Iterator[DockerProxy]:
    with run_docker_proxy(tmp_path / "proxy.sock", str(engine.path)) as running:
        yield running


def connected(proxy: DockerProxy, timeout: float = 5) -> http.client.HTTPConnection:
    caller = http.client.HTTPConnection("localhost")
    caller.sock = socket.socket(socket.AF_UNIX)
    caller.sock.settimeout(timeout)
    caller.sock.connect(str(proxy.server_address))
    return caller


def ask(caller: http.client.HTTPConnection, path: str = "/info") -> int:
    caller.request("GET", path)
    answer = caller.getresponse()
    answer.read()
    return answer.status


def test_requests_are_counted_and_forwarded_unchanged(proxy: DockerProxy) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(proxy.server_address))
        for request in (
            b"GET /v1.41/info?all=1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /v1.41/containers/create HTTP/1.1\r\nContent-Length: 14\r\n\r\nGET / HTTP/1.1",
            b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            client.sendall(request)
            assert client.recv(65536).endswith(b"{}")
    assert proxy.calls == ["GET /v1.41/info", "POST /v1.41/containers/create", "GET /version"]
    assert proxy.calls_made_by(os.getpid()) == 3


@pytest.mark.parametrize(("fault", "handled"), [(Fault.REFUSE, False), (Fault.LOSE, True)])
def test_a_refused_or_lost_request_gets_no_response_and_others_do(
    proxy: DockerProxy, engine: Engine, fault: Fault, handled: bool
) -> None:
    proxy.fault_for = lambda call: fault if call.number == 2 else None
    caller = connected(proxy)
    assert ask(caller, "/first") == 200
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(caller, "/second")

    assert (b"/second" in engine.received) is handled
    assert ask(connected(proxy), "/third") == 200


def test_a_request_can_be_delayed(proxy: DockerProxy) -> None:
    proxy.fault_for = lambda _: Fault.DELAY
    began = time.monotonic()
    assert ask(connected(proxy)) == 200
    assert time.monotonic() - began >= DELAY_SECONDS


def test_a_held_request_reaches_the_engine_after_its_caller_has_gone(
    proxy: DockerProxy, engine: Engine
) -> None:
    proxy.pause()
    caller = connected(proxy, timeout=0.2)
    with pytest.raises(TimeoutError):
        ask(caller, "/late")
    caller.close()
    assert b"/late" not in engine.received

    proxy.resume()
    wait_for(lambda: b"/late" in engine.received, "the engine receives it")


@pytest.mark.parametrize(
    ("fault", "handled"), [(Fault.KILL_BEFORE, False), (Fault.KILL_AFTER, True)]
)
def test_the_caller_is_killed_before_or_after_the_engine_handles_its_request(
    proxy: DockerProxy, engine: Engine, fault: Fault, handled: bool
) -> None:
    calls: list[Call] = []

    def kill_at_the_second(call: Call) -> Fault | None:
        calls.append(call)
        return fault if call.number == 2 else None

    proxy.fault_for = kill_at_the_second
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(proxy.server_address)], timeout=20, check=False
    )

    assert done.returncode == -signal.SIGKILL
    assert [call.request for call in calls] == ["GET /first", "GET /second"]
    assert (b"/second" in engine.received) is handled
