"""Servers of others: mail and friendbot."""

from __future__ import annotations

import smtplib
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from sandboxes.doctor.findings import Findings, error, ok, redacted, warning
from sandboxes.lib import http_client
from sandboxes.stellar.friendbot import MAX_RESPONSE_BYTES

FRIENDBOT_SECONDS = 5.0
SERVERS = "smtp"
MAIL_REMEDY = "Correct EMAIL_URL (smtp+tls://user:password@host:587), or see the mail server."


def mail() -> Findings:
    """The server is connected to, greeted and signed in to; nothing is sent."""
    kind = settings.EMAIL_BACKEND.split(".")[-2]
    if kind != SERVERS:
        where = getattr(settings, "EMAIL_FILE_PATH", None) or kind
        yield warning(f"Mail reaches nobody: it goes into {where}.", "Set EMAIL_URL.")
        return
    server: Any = get_connection()
    try:
        server.open()
        # Without encryption and a password Django would not have said so much yet.
        server.connection.ehlo_or_helo_if_needed()
        server.close()
    except (OSError, smtplib.SMTPException) as exc:
        yield error(f"The mail server does not take us: {redacted(exc)}.", MAIL_REMEDY)
        return
    yield ok(f"The mail server {settings.EMAIL_HOST}:{settings.EMAIL_PORT} takes us.")


def send_test_mail(address: str) -> Findings:
    """Send one, to see whether it arrives."""
    words = "This is what `manage.py doctor --mail` sends, to see whether mail arrives."
    try:
        EmailMessage("A mail from the sandbox portal", words, to=[address]).send()
    except (OSError, smtplib.SMTPException) as exc:
        yield error(f"The mail to {address} was not taken: {redacted(exc)}.", MAIL_REMEDY)
        return
    yield ok(f"A mail to {address} was handed over; see whether it arrives.")


def friendbot() -> Findings:
    """It answers, whatever it says: to ask for no account is a bad request."""
    try:
        response = http_client.send(
            "GET",
            settings.FRIENDBOT_URL,
            limits=http_client.Limits(FRIENDBOT_SECONDS, MAX_RESPONSE_BYTES),
            use_proxies=True,
        )
    except (http_client.RequestFailed, OSError, ValueError) as exc:
        yield warning(
            f"Friendbot, {settings.FRIENDBOT_URL}, can't be reached ({type(exc).__name__}).",
            "Sandboxes run all the same, their accounts wait for funds. Let the worker reach it.",
        )
        return
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        words = f"Friendbot answers {response.status}."
        yield warning(words, "Accounts wait for funds until it is well again.")
        return
    yield ok("Friendbot answers.")
