"""A proxy for the Docker socket that counts requests and injects faults into chosen ones."""

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

DEFAULT_SOCKET = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or "/var/run/docker.sock"
CHUNK_BYTES = 65536
DELAY_SECONDS = 0.3


class Fault(StrEnum):
    """A fault to inject into one request."""

    REFUSE = "refuse"
    """Close the connection; the engine doesn't get the request."""
    LOSE = "lose"
    """Close the connection after the engine has handled the request."""
    DELAY = "delay"
    KILL_BEFORE = "kill before"
    """Kill the caller; the engine doesn't get the request."""
    KILL_AFTER = "kill after"
    """Kill the caller after the engine has handled the request."""


@dataclass(frozen=True)
class Call:
    """A request, the process that sent it, and its number among that process's requests."""

    request: str
    """Method and path, such as `GET /v1.41/networks`."""
    pid: int
    number: int


FaultPolicy = Callable[[Call], Fault | None]


class DockerProxy(socketserver.ThreadingUnixStreamServer):
    """Forwards requests to the engine's socket at `engine`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, path: Path, engine: str) -> None:
        self.engine = engine
        self.calls: list[str] = []
        """Methods and paths of all requests so far, in order."""
        self.fault_for: FaultPolicy = lambda _: None
        self._calls_by_pid: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._running.set()
        super().__init__(str(path), _Connection)

    def pause(self) -> None:
        """Hold requests and responses back until `resume`, without losing any."""
        self._running.clear()

    def resume(self) -> None:
        """Forward what was held back, even if its caller has given up waiting."""
        self._running.set()

    def wait_until_running(self) -> None:
        self._running.wait()

    def calls_made_by(self, pid: int) -> int:
        """Return how many requests the process has sent."""
        return self._calls_by_pid[pid]

    def record_call(self, request: str, pid: int) -> Fault | None:
        """Count a request and return the fault to inject into it."""
        with self._lock:
            self.calls.append(request)
            self._calls_by_pid[pid] += 1
            call = Call(request, pid, self._calls_by_pid[pid])
        return self.fault_for(call)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the broken connections of killed callers and restarted engines."""


class _Connection(socketserver.StreamRequestHandler):
    server: DockerProxy
    fault: Fault | None = None

    def handle(self) -> None:
        self.pid = _peer_pid(self.connection)
        with socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
            engine.connect(self.server.engine)
            responses = threading.Thread(target=self._return_responses, args=[engine], daemon=True)
            responses.start()
            while self._forward_request(engine):
                pass
            engine.shutdown(socket.SHUT_WR)
            responses.join()

    def _forward_request(self, engine: socket.socket) -> bool:
        """Forward one request. Return False if the connection has ended.

        After an upgrade request, bytes are forwarded unparsed.
        """
        line = self.rfile.readline()
        if not line.strip():
            return False
        method, path, _ = line.decode("latin-1").split(" ", 2)
        self.fault = self.server.record_call(f"{method} {path.partition('?')[0]}", self.pid)
        head, headers = _headers(self.rfile)
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if self._apply_fault():
            return False
        engine.sendall(line + head + body)
        if "upgrade" in headers or "transfer-encoding" in headers:
            while more := self.rfile.read1(CHUNK_BYTES):  # type: ignore[attr-defined]
                engine.sendall(more)
        return True

    def _apply_fault(self) -> bool:
        """Inject a fault before forwarding. Return whether to drop the request."""
        self.server.wait_until_running()
        if self.fault is Fault.DELAY:
            time.sleep(DELAY_SECONDS)
        if self.fault is Fault.KILL_BEFORE:
            os.kill(self.pid, signal.SIGKILL)
        return self.fault in (Fault.REFUSE, Fault.KILL_BEFORE)

    def _return_responses(self, engine: socket.socket) -> None:
        with suppress(OSError):
            while more := engine.recv(CHUNK_BYTES):
                self.server.wait_until_running()
                if self.fault is Fault.KILL_AFTER:
                    os.kill(self.pid, signal.SIGKILL)
                if self.fault in (Fault.KILL_AFTER, Fault.LOSE):
                    break
                self.connection.sendall(more)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _headers(client: BinaryIO) -> tuple[bytes, dict[str, str]]:
    """Return the raw headers with the empty line that ends them, and their values by name."""
    head, headers = [], {}
    while (header := client.readline()).strip():
        head.append(header)
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return b"".join([*head, header]), headers


def _peer_pid(connection: socket.socket) -> int:
    """Return the PID of the process at the other end."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


@contextmanager
def run_docker_proxy(path: Path, engine: str = DEFAULT_SOCKET) -> Iterator[DockerProxy]:
    """Run a proxy from the socket at `path` to the engine's socket."""
    proxy = DockerProxy(path, engine)
    threading.Thread(target=proxy.serve_forever, args=[0.05], daemon=True).start()
    try:
        yield proxy
    finally:
        # Stop forwarding requests of connections that are still open.
        proxy.fault_for = lambda _: Fault.REFUSE
        proxy.resume()
        proxy.shutdown()
        proxy.server_close()
        path.unlink()
