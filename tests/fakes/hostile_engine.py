"""An engine that answers slowly, endlessly, wrongly or not at all, on a socket of this process."""

from __future__ import annotations

import itertools
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS = HEAD + b"Connection: close\r\n\r\n["
BLOCK = b'"'.ljust(2**20)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, manner: str) -> None:
        self.manner = manner
        self.closed = threading.Event()
        super().__init__(str(path), _Handler)


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.rfile.readline()
        with suppress(OSError):
            for part in self._answer():
                self.wfile.write(part)

    def _answer(self) -> Iterator[bytes]:
        match self.server.manner:
            case "silent":
                self.server.closed.wait()
            case "dripping":
                yield ENDLESS
                while not self.server.closed.wait(0.05):
                    yield b" "
            case "endless":
                yield ENDLESS
                yield from itertools.repeat(BLOCK)
            case "wrong":
                body = b'{"ID": ["?"], "Containers": "many"}'
                yield HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            case "closing":
                return


@contextmanager
def hostile_engine(folder: Path, manner: str) -> Iterator[str]:
    """Serve on a socket in this folder; yield the engine's address."""
    path = folder / "engine.sock"
    with _Server(path, manner) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.closed.set()
            server.shutdown()
            thread.join()
