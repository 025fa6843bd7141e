"""Servers that run in threads of the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from threading import Thread

POLL_SECONDS = 0.02
"""How often a server looks whether it has to stop, which `shutdown` waits for."""


def start_in_thread(server: BaseServer) -> None:
    """Serve requests in a thread until `server.shutdown()` or the end of this process."""
    Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True).start()


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Serve requests in a thread until the block ends."""
    with server:
        start_in_thread(server)
        yield
        server.shutdown()
