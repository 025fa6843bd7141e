"""Receivers of webhooks on this machine: real HTTP servers whose answers a test chooses."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from standardwebhooks import Webhook as Verifier

from sandboxes.models import EventType, Webhook, WebhookDelivery
from sandboxes.webhooks import endpoints

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper


class Receiver(ThreadingHTTPServer):
    """Answers with `status`, `headers` and `body`; with `drips`, byte by byte without an end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Told)
        self.status = 204
        self.headers: dict[str, str] = {}
        self.body = b""
        self.drips = False
        self.stopped = Event()
        self.messages: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.messages]

    def verified(self, secret: str) -> list[dict[str, Any]]:
        """All that came, checked as its owner would, each at the time when it came."""
        checked = []
        for headers, body in self.messages:
            with time_machine.travel(int(headers["webhook-timestamp"]), tick=False):
                checked.append(Verifier(secret).verify(body, headers))
        return checked

    def types(self, secret: str) -> list[str]:
        return [message["type"] for message in self.verified(secret)]


class Told(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        there = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        there.messages.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(there.status)
        for name, value in there.headers.items():
            self.send_header(name, value)
        if not there.drips:
            self.send_header("Content-Length", str(len(there.body)))
        self.end_headers()
        self.wfile.write(there.body)
        while there.drips and not there.stopped.wait(0.05):
            self.wfile.write(b".")
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Tests have enough to say."""


@pytest.fixture
def receiver(settings: SettingsWrapper) -> Iterator[Receiver]:
    """A receiver on this machine, which the portal may reach in this test."""
    settings.WEBHOOK_ALLOW_PRIVATE = settings.WEBHOOK_ALLOW_HTTP = True
    with Receiver() as running:
        Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.stopped.set()
        running.shutdown()


def hook(user: User, receiver: Receiver, *events: str) -> tuple[Webhook, str]:
    """A webhook of the user's for these events, or all, and its secret."""
    return endpoints.create(user, receiver.url, events or EventType.values, "bot")


def fresh(webhook: Webhook) -> Webhook:
    """The row as it is now."""
    return Webhook.objects.get(pk=webhook.pk)


def told(webhook: Webhook) -> WebhookDelivery:
    """The last message for it, and what became of that."""
    last = webhook.deliveries.newest_first().first()
    assert last
    return last


def statuses(webhook: Webhook) -> list[int | None]:
    """What the receiver answered to each try of the last message."""
    return [entry["status"] for entry in told(webhook).log]
