"""A proxy before the engine's socket: it counts the calls, and spoils those that a test picks."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

USUAL_SOCKET = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or "/var/run/docker.sock"
CHUNK = 65536
DELAY_SECONDS = 0.3


class Fault(StrEnum):
    """What may happen to one call of the engine."""

    REFUSE = "refuse"
    """The connection is closed, and the engine hears nothing."""
    LOSE = "lose"
    """The engine acts, and nobody gets its answer."""
    DELAY = "delay"
    KILL_BEFORE = "kill before"
    """The caller is killed, and the engine hears nothing."""
    KILL_AFTER = "kill after"
    """The engine acts; the caller is killed when it would get the answer."""


@dataclass(frozen=True)
class Call:
    """One call: what is asked, by which process, and how many that one had made with it."""

    asked: str
    """Method and path, such as `GET /v1.41/networks`."""
    pid: int
    number: int


Judge = Callable[[Call], Fault | None]


class Relay(socketserver.ThreadingUnixStreamServer):
    """Hands calls on to the engine whose socket is at `engine`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, path: Path, engine: str) -> None:
        self.engine = engine
        self.calls: list[str] = []
        """All so far, in the order in which they came."""
        self.judge: Judge = lambda _: None
        self._made_by: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        super().__init__(str(path), _Connection)

    def hang(self) -> None:
        """From now on nothing is handed on, in either direction; nothing is lost, though."""
        self._flows.clear()

    def flow(self) -> None:
        """What was held up is handed on, also for those who have given up waiting."""
        self._flows.set()

    def wait(self) -> None:
        self._flows.wait()

    def made_by(self, pid: int) -> int:
        """How many calls that process has made."""
        return self._made_by[pid]

    def note(self, asked: str, pid: int) -> Fault | None:
        """Count a call; what is to happen to it."""
        with self._lock:
            self.calls.append(asked)
            self._made_by[pid] += 1
            call = Call(asked, pid, self._made_by[pid])
        return self.judge(call)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that are killed, and engines that restart, leave broken connections."""


class _Connection(socketserver.StreamRequestHandler):
    server: Relay
    fault: Fault | None = None

    def handle(self) -> None:
        self.pid = _peer(self.connection)
        with socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
            engine.connect(self.server.engine)
            answers = threading.Thread(target=self._pour, args=[engine], daemon=True)
            answers.start()
            while self._forward(engine):
                pass
            engine.shutdown(socket.SHUT_WR)
            answers.join()

    def _forward(self, engine: socket.socket) -> bool:
        """Hand one request on; False when there is no other.

        What follows a request to take the connection over is handed on as it comes.
        """
        line = self.rfile.readline()
        if not line.strip():
            return False
        method, path, _ = line.decode("latin-1").split(" ", 2)
        self.fault = self.server.note(f"{method} {path.partition('?')[0]}", self.pid)
        head, headers = _headers(self.rfile)
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if self._is_stopped():
            return False
        engine.sendall(line + head + body)
        if "upgrade" in headers or "transfer-encoding" in headers:
            while more := self.rfile.read1(CHUNK):  # type: ignore[attr-defined]
                engine.sendall(more)
        return True

    def _is_stopped(self) -> bool:
        """Before the engine hears of a call."""
        self.server.wait()
        if self.fault is Fault.DELAY:
            time.sleep(DELAY_SECONDS)
        if self.fault is Fault.KILL_BEFORE:
            os.kill(self.pid, signal.SIGKILL)
        return self.fault in (Fault.REFUSE, Fault.KILL_BEFORE)

    def _pour(self, engine: socket.socket) -> None:
        with suppress(OSError):
            while more := engine.recv(CHUNK):
                self.server.wait()
                if self.fault is Fault.KILL_AFTER:
                    os.kill(self.pid, signal.SIGKILL)
                if self.fault in (Fault.KILL_AFTER, Fault.LOSE):
                    break
                self.connection.sendall(more)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _headers(client: BinaryIO) -> tuple[bytes, dict[str, str]]:
    """As they came, with the empty line that ends them; and by name."""
    head, headers = [], {}
    while (header := client.readline()).strip():
        head.append(header)
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return b"".join([*head, header]), headers


def _peer(connection: socket.socket) -> int:
    """The process at the other end."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


@contextmanager
def relayed(path: Path, engine: str = USUAL_SOCKET) -> Iterator[Relay]:
    """Calls made to the socket at `path` go through the relay to the engine's."""
    relay = Relay(path, engine)
    threading.Thread(target=relay.serve_forever, args=[0.05], daemon=True).start()
    try:
        yield relay
    finally:
        # Connections that stay open bring nothing new either.
        relay.judge = lambda _: Fault.REFUSE
        relay.flow()
        relay.shutdown()
        relay.server_close()
        path.unlink()
