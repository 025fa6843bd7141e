"""Fake friendbots: real HTTP servers on this machine with configurable responses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from sandboxes.models import Sandbox
from tests.helpers.scenarios import reload
from tests.helpers.servers import start_in_thread

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


class Friendbot(ThreadingHTTPServer):
    """Responds with `status`, `headers` and `body`; with `drips`, sends bytes without end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b'{"successful": true}'
        self.drips = False
        self.stopped = Event()
        self.asked_for: list[str] = []
        self.targets: list[str] = []
        self.proxy_authorizations: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Friendbot

    def do_GET(self) -> None:
        bot = self.server
        bot.targets.append(self.path)
        bot.proxy_authorizations.append(self.headers["Proxy-Authorization"])
        bot.asked_for += parse_qs(urlsplit(self.path).query).get("addr", [])
        self.send_response(bot.status)
        for name, value in bot.headers.items():
            self.send_header(name, value)
        if not bot.drips:
            self.send_header("Content-Length", str(len(bot.body)))
        self.end_headers()
        self.wfile.write(bot.body)
        while bot.drips and not bot.stopped.wait(0.05):
            self.wfile.write(b".")
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Suppress the access log."""


@pytest.fixture
def bot(settings: SettingsWrapper) -> Iterator[Friendbot]:
    """Run the friendbot that the portal uses."""
    with Friendbot() as running:
        start_in_thread(running)
        settings.FRIENDBOT_URL = running.url
        yield running
        running.stopped.set()
        running.shutdown()


def funding_delay(sandbox: Sandbox) -> timedelta:
    """Return the time until the next funding request for the sandbox."""
    due_at = reload(sandbox).funding_due_at
    assert due_at
    return due_at - timezone.now()


@contextmanager
def raw_server(sends: bytes | None) -> Iterator[str]:
    """Run a server that sends these bytes instead of HTTP, or with None nothing, and stays open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                kept.append(connection)
                if sends is not None:
                    connection.recv(1024)
                    connection.sendall(sends)
                    connection.close()

        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()
