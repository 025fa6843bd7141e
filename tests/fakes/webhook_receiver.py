"""Fake webhook receivers: real HTTP servers on this machine with configurable responses."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from standardwebhooks import Webhook as Verifier

from sandboxes.models import EventType, Webhook, WebhookDelivery
from sandboxes.webhooks import endpoints
from tests.helpers.servers import start_in_thread

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper


class Receiver(ThreadingHTTPServer):
    """Responds with `status`, `headers` and `body`; with `drips`, sends bytes without end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
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
        """Return all received messages, each verified at the time of its arrival."""
        checked = []
        for headers, body in self.messages:
            with time_machine.travel(int(headers["webhook-timestamp"]), tick=False):
                checked.append(Verifier(secret).verify(body, headers))
        return checked

    def types(self, secret: str) -> list[str]:
        return [message["type"] for message in self.verified(secret)]


class Handler(BaseHTTPRequestHandler):
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
        """Suppress the access log."""


@pytest.fixture
def receiver(settings: SettingsWrapper) -> Iterator[Receiver]:
    """Run a receiver on this machine, to which the portal may deliver in this test."""
    settings.WEBHOOK_ALLOW_PRIVATE = settings.WEBHOOK_ALLOW_HTTP = True
    with Receiver() as running:
        start_in_thread(running)
        yield running
        running.stopped.set()
        running.shutdown()


def create_webhook(user: User, receiver: Receiver, *events: str) -> tuple[Webhook, str]:
    """Create a webhook of the user for these events, or for all; return it and its secret."""
    return endpoints.create(user, receiver.url, events or EventType.values, "bot")


def reload_webhook(webhook: Webhook) -> Webhook:
    """Return the current row."""
    return Webhook.objects.get(pk=webhook.pk)


def last_delivery(webhook: Webhook) -> WebhookDelivery:
    """Return the last delivery of the webhook."""
    last = webhook.deliveries.newest_first().first()
    assert last
    return last


def statuses(webhook: Webhook) -> list[int | None]:
    """Return the receiver's response to each attempt of the last delivery."""
    return [entry["status"] for entry in last_delivery(webhook).log]
