"""Connections to the proxy: malformed requests, limits, and clients or engines that hang up."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from socket_proxy.settings import InvalidSetting, Settings

from tests.helpers.wait import wait_for
from tests.socket_proxy.harness import ask, running_proxy

PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: Docker\r\nSet-Cookie: x\r\n\r\nOK"

Behavior = Callable[[socket.socket], None]


@dataclass
class Stage:
    """The proxy between a client and an engine that a test controls."""

    path: Path
    log: Path
    behave: Behavior
    received: list[bytes]
    logged_before: int = 0
    """Length of what earlier tests have logged, in characters."""

    def logged(self) -> str:
        return self.log.read_text()[self.logged_before :]

    def send(self, content: bytes, timeout: float = 10) -> bytes:
        """Send bytes; return everything that comes back until the proxy closes."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout)
            client.connect(str(self.path))
            client.sendall(content)
            received = b""
            while piece := client.recv(1 << 16):
                received += piece
        return received


def answer_ok(connection: socket.socket) -> None:
    connection.sendall(OK)


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        engine, path = Path(folder) / "engine.sock", Path(folder) / "proxy.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(engine))
        listener.listen()
        with running_proxy(path, SANDBOX_INSTANCE="one", ENGINE_SOCKET=str(engine)) as log:
            stage = Stage(path, log, answer_ok, [])

            def serve_connection(connection: socket.socket) -> None:
                with connection:
                    stage.received.append(connection.recv(1 << 20))
                    stage.behave(connection)

            def accept() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    threading.Thread(
                        target=serve_connection, args=[connection], daemon=True
                    ).start()

            threading.Thread(target=accept, daemon=True).start()
            yield stage
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@pytest.fixture
def stage(shared_stage: Stage) -> Iterator[Stage]:
    """Return the stage with an engine that answers, before any request."""
    shared_stage.behave = answer_ok
    shared_stage.received.clear()
    shared_stage.logged_before = len(shared_stage.log.read_text())
    yield shared_stage
    assert "Traceback" not in shared_stage.logged()


def test_the_engine_gets_a_request_of_the_proxys_own(stage: Stage) -> None:
    request = b"GET /_ping HTTP/1.1\r\nHost: evil\r\nX-Registry-Auth: x\r\nCookie: y\r\n\r\n"
    answer = stage.send(request)
    assert stage.received == [
        b"GET /v1.41/_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
    ]
    assert answer == (
        b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK"
    )


MALFORMED = {
    "both lengths": (
        b"POST /info HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "chunks": b"POST /info HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"GET /_ping HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "list of lengths": b"GET /_ping HTTP/1.1\r\nContent-Length: 0, 0\r\n\r\n",
    "signed length": b"GET /_ping HTTP/1.1\r\nContent-Length: +0\r\n\r\n",
    "length with blanks before the colon": b"GET /_ping HTTP/1.1\r\nContent-Length : 0\r\n\r\n",
    "folded header": b"GET /_ping HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    "bare carriage return": b"GET /_ping HTTP/1.1\r\nX: a\rY: b\r\n\r\n",
    "bare line feed": b"GET /_ping HTTP/1.1\nHost: x\r\n\r\n",
    "NUL": b"GET /_ping HTTP/1.1\r\nX: \0\r\n\r\n",
    "no ASCII": b"GET /_ping HTTP/1.1\r\nX: \xc3\xa9\r\n\r\n",
    "upgrade": b"POST /_ping HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    "absolute target": b"GET http://x/_ping HTTP/1.1\r\n\r\n",
    "other version": b"GET /_ping HTTP/2.0\r\n\r\n",
    "no version": b"GET /_ping\r\n\r\n",
    "two blanks": b"GET  /_ping HTTP/1.1\r\n\r\n",
    "fragment": b"GET /_ping#x HTTP/1.1\r\n\r\n",
    "body without a rule": b"GET /_ping HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "huge body": b"POST /networks/create HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
    "huge head": b"GET /_ping HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    "old API version": b"GET /v1.24/_ping HTTP/1.1\r\n\r\n",
    "newer API version": b"GET /v1.44/_ping HTTP/1.1\r\n\r\n",
}
BODIES = {
    "repeated key": b'{"Name": "a", "Name": "b"}',
    "data after the document": b'{"Name": "a"}{}',
    "byte order mark": b'\xef\xbb\xbf{"Name": "a"}',
    "UTF-16": '{"Name": "a"}'.encode("utf-16"),
    "invalid UTF-8": b'{"Name": "\xff"}',
    "half of a surrogate pair": b'{"Name": "\\ud800"}',
    "not a number": b'{"Name": NaN}',
    "fraction": b'{"Name": 1.5}',
    "deep": b"[" * 100_000,
    "many digits": b'{"Name": ' + b"9" * 10_000 + b"}",
    "no object": b"[]",
    "empty": b"",
}


def test_requests_that_can_be_understood_in_two_ways_are_denied(stage: Stage) -> None:
    requests = MALFORMED | {
        f"body: {name}": b"POST /networks/create HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
        for name, body in BODIES.items()
    }
    for name, request in requests.items():
        assert stage.send(request).startswith(b"HTTP/1.1 403 "), name
    assert stage.received == []


def test_what_follows_a_request_is_never_forwarded(stage: Stage) -> None:
    assert stage.send(PING + PING).count(b"HTTP/1.1 200") == 1
    assert len(stage.received) == 1
    assert b"_ping HTTP" in stage.received[0]


def test_an_engine_that_hangs_up_is_reported(stage: Stage) -> None:
    stage.behave = lambda connection: None
    assert stage.send(PING).startswith(b"HTTP/1.1 502 ")
    stage.behave = lambda connection: connection.sendall(b"SSH-2.0\r\n\r\n")
    assert stage.send(PING).startswith(b"HTTP/1.1 502 ")
    stage.behave = lambda connection: connection.sendall(OK[:40])
    assert stage.send(b"GET /version HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 502 ")
    assert ask(stage.path, "DELETE", "/containers/x")[0] == 502
    stage.behave = answer_ok
    assert stage.send(PING).startswith(b"HTTP/1.1 200 ")


def test_an_answer_of_the_engine_that_ends_early_ends_early_for_the_client(stage: Stage) -> None:
    stage.behave = lambda connection: connection.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"
    )
    assert stage.send(PING).endswith(b"\r\n\r\n5\r\nhel")


def test_the_connection_to_the_engine_ends_when_the_client_hangs_up(stage: Stage) -> None:
    ended = threading.Event()

    def wait_for_end(connection: socket.socket) -> None:
        connection.settimeout(10)
        if connection.recv(1) == b"":
            ended.set()

    stage.behave = wait_for_end
    for request in (PING, PING[:10]):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(stage.path))
            client.sendall(request)
            wait_for(lambda: stage.received, "the engine has the request")
    assert ended.wait(10)
    stage.behave = answer_ok
    assert stage.send(PING).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_has_finished_sending_still_gets_its_answer(stage: Stage) -> None:
    def answer_late(connection: socket.socket) -> None:
        time.sleep(1.2)
        connection.sendall(OK)

    stage.behave = answer_late
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(stage.path))
        client.sendall(PING)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_idle_connections_are_bounded_in_number_and_time(stage: Stage) -> None:
    clients = []
    try:
        for _ in range(300):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(stage.path))
            clients.append(client)
        wait_for(lambda: "256 are open" in stage.logged(), "some connections are refused")
        for client in clients[:200]:
            client.close()
        wait_for(lambda: b"200 OK" in stage.send(PING), "the proxy answers again")
    finally:
        for client in clients:
            client.close()


def test_the_socket_is_closed_to_other_users(stage: Stage) -> None:
    assert stage.path.stat().st_mode & 0o777 == 0o660


def test_denied_requests_are_logged_in_one_line(stage: Stage) -> None:
    target = "/containers/x%0aINFO/json"
    stage.send(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    body = json.dumps({"a\nINFO faked": 1})
    assert ask(stage.path, "POST", "/networks/create", body.encode())[0] == 403
    lines = stage.logged().splitlines()
    assert all(line.startswith("WARNING denied: ") for line in lines), lines


def test_containers_may_have_as_much_as_the_largest_blueprint() -> None:
    given = {"SANDBOX_MEMORY_MAX_MB": "4096", "SANDBOX_CPUS_MAX": "0.5", "SANDBOX_DISK_MB": "99"}
    found = Settings.from_environment({"SANDBOX_INSTANCE": "one"} | given)
    assert (found.memory_mb, found.cpus, found.disk_mb) == (4096, 1.0, 99)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SANDBOX_INSTANCE", ""),
        ("SANDBOX_INSTANCE", "a b"),
        ("SANDBOX_SUBNETS", "10.0.0.0/99"),
        ("SANDBOX_BIND_ADDRESS", "everywhere"),
        ("SANDBOX_MEMORY_MB", "0"),
        ("SANDBOX_CPUS", "one"),
        ("DOCKER_API_VERSION", "1.23"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        Settings.from_environment({"SANDBOX_INSTANCE": "one"} | {name: value})
