"""Checks of external services: the mail server."""

from __future__ import annotations

import socketserver
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandboxes.doctor import external_services
from tests.doctor.findings import FINE, WARNING, WRONG, levels
from tests.harness.certificate import write_certificate
from tests.harness.ports import reserve_port
from tests.helpers.servers import serving

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


@contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """Serve TLS with a certificate of an authority of its own, and yield the port."""
    write_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server.server_port


def test_the_certificate_of_the_site_is_checked(
    settings: SettingsWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert levels(external_services.site_certificate()) == [FINE], "without HTTPS"
    with tls_server(tmp_path) as port:
        settings.SITE_URL = f"https://127.0.0.1:{port}"
        [unknown] = external_services.site_certificate()
        assert unknown.level is WRONG
        assert "SSL_CERT_FILE" in unknown.remedy

        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        [soon] = external_services.site_certificate()
        assert (soon.level, "is valid until" in soon.message) == (WARNING, True)
    assert levels(external_services.site_certificate()) == [WARNING], "nothing listens"


class MailServer(socketserver.ThreadingTCPServer):
    """A mail server that records the commands it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.heard: list[str] = []


class Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 mail.example.com\r\n")
        for line in self.rfile:
            word = line.split()[0].decode().upper()
            self.server.heard.append(word)  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 mail.example.com\r\n")


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    with serving(server):
        yield server


def test_undelivered_mail_is_a_warning() -> None:
    assert levels(external_services.mail()) == [WARNING]


def test_the_mail_server_is_contacted_without_sending(settings: SettingsWrapper) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    with mail_server() as server:
        settings.EMAIL_PORT = server.server_address[1]
        assert levels(external_services.mail()) == [FINE]
    assert server.heard == ["EHLO", "QUIT"]
    assert levels(external_services.mail()) == [WRONG]


def test_a_test_email_is_sent_to_an_address(mailoutbox: list[Any]) -> None:
    assert levels(external_services.send_test_mail("olga@example.com")) == [FINE]
    assert mailoutbox[0].to == ["olga@example.com"]


def test_a_rejected_email_is_an_error(settings: SettingsWrapper) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", reserve_port()
    assert levels(external_services.send_test_mail("olga@example.com")) == [WRONG]
