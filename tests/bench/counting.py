"""A proxy before the engine's socket that counts the calls which go through it."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

USUAL_SOCKET = "/var/run/docker.sock"
CHUNK = 65536


class Calls(list[str]):
    """The calls so far, such as `GET /v1.41/networks`, in the order in which they came."""


class _Relay(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine, contextlib.suppress(OSError):
            engine.connect(self.server.engine)
            answers = threading.Thread(target=_pour, args=(engine, self.connection), daemon=True)
            answers.start()
            while _forward(self.rfile, engine, self.server.calls):
                pass
            engine.shutdown(socket.SHUT_WR)
            answers.join()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, engine: str) -> None:
        self.calls, self.engine = Calls(), engine
        super().__init__(str(path), _Relay)


def _forward(client: BinaryIO, engine: socket.socket, calls: Calls) -> bool:
    """Hand one request on; False when there is no other.

    What follows a request to take the connection over is handed on as it comes.
    """
    line = client.readline()
    if not line.strip():
        return False
    method, path, _ = line.decode("latin-1").split(" ", 2)
    calls.append(f"{method} {path.partition('?')[0]}")
    head, headers = [line], {}
    while (header := client.readline()).strip():
        head.append(header)
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    engine.sendall(b"".join([*head, header]))
    if "upgrade" in headers or "transfer-encoding" in headers:
        while more := client.read1(CHUNK):  # type: ignore[attr-defined]
            engine.sendall(more)
    elif length := int(headers.get("content-length", 0)):
        engine.sendall(client.read(length))
    return True


def _pour(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while more := source.recv(CHUNK):
            to.sendall(more)
        to.shutdown(socket.SHUT_WR)


@contextmanager
def counted(path: Path, engine: str = USUAL_SOCKET) -> Iterator[Calls]:
    """Calls made to the socket at `path` go to the engine's, and into the list."""
    server = _Server(path, engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.calls
    finally:
        server.shutdown()
        server.server_close()
        path.unlink()
