"""Servers that send what no well-behaved server sends: endless, trickled or malformed responses."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from threading import Event, Thread

OK = b"HTTP/1.1 200 OK\r\n"
LARGE = b"x" * 65536


def trickle(*pieces: bytes, pause: float = 0.05) -> Iterator[bytes]:
    """Yield the pieces at once, then a byte now and then without end."""
    yield from pieces
    while True:
        time.sleep(pause)
        yield b"x"


def flood(first: bytes, endless: bytes) -> Iterator[bytes]:
    """Yield the first piece, then the other one without end."""
    yield first
    yield from repeat(endless)


RESPONSES: dict[str, Callable[[], Iterable[bytes]]] = {
    "nothing": lambda: trickle(pause=3600),
    "an end": lambda: (),
    "no HTTP": lambda: (b"SSH-2.0-OpenSSH_9.2\r\n",),
    "an endless status line": lambda: flood(b"HTTP/1.1 200 ", LARGE),
    "a trickled status line": lambda: trickle(b"HTTP/1.1 200 O"),
    "endless interim responses": lambda: flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "endless headers": lambda: flood(OK, b"X-A: b\r\n" * 1000),
    "an endless header": lambda: flood(OK + b"X-A: ", LARGE),
    "trickled headers": lambda: trickle(OK + b"X-A: "),
    "an endless body": lambda: flood(OK + b"\r\n", LARGE),
    "a trickled body": lambda: trickle(OK + b"\r\n"),
    "tiny chunks": lambda: flood(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 5000),
    "a huge length": lambda: flood(OK + b"Content-Length: 9" + b"9" * 18 + b"\r\n\r\n", LARGE),
    "an endless chunk size": lambda: flood(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 9000),
    "a redirect": lambda: (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",),
}
"""What hostile servers send, by name."""


@contextmanager
def streaming_server(response: Callable[[], Iterable[bytes]]) -> Iterator[str]:
    """Run a server that sends the response on each connection; yield its `host:port`."""
    with answering_server(lambda _request: response()) as address:
        yield address


@contextmanager
def answering_server(respond: Callable[[bytes], Iterable[bytes]]) -> Iterator[str]:
    """Run a server that sends what `respond` returns for a request; yield its `host:port`."""
    stopped = Event()

    def send(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for piece in respond(connection.recv(65536)):
                if stopped.is_set():
                    break
                connection.sendall(piece)

    def accept() -> None:
        while not stopped.is_set():
            with suppress(OSError):
                connection, _address = listener.accept()
                connection.settimeout(5)
                Thread(target=send, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        stopped.set()
        thread.join()
