"""External services: mail server and Friendbot."""

from __future__ import annotations

import smtplib
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from sandboxes.doctor.findings import Findings, error, ok, redacted, warning
from sandboxes.lib.http import client as http_client
from sandboxes.stellar.friendbot import MAX_RESPONSE_BYTES

FRIENDBOT_SECONDS = 5.0
SERVERS = "smtp"
MAIL_REMEDY = "Correct EMAIL_URL (smtp+tls://user:password@host:587), or check the mail server."


def mail() -> Findings:
    """Connect and sign in to the mail server without sending anything."""
    kind = settings.EMAIL_BACKEND.split(".")[-2]
    if kind != SERVERS:
        where = getattr(settings, "EMAIL_FILE_PATH", None) or kind
        yield warning(f"Emails aren't delivered; they go to {where}.", "Set EMAIL_URL.")
        return
    server: Any = get_connection()
    try:
        server.open()
        # Django greets the server only for encryption or a password.
        server.connection.ehlo_or_helo_if_needed()
        server.close()
    except (OSError, smtplib.SMTPException) as exc:
        yield error(f"The mail server rejected the connection: {redacted(exc)}.", MAIL_REMEDY)
        return
    yield ok(f"The mail server {settings.EMAIL_HOST}:{settings.EMAIL_PORT} accepts connections.")


def send_test_mail(address: str) -> Findings:
    """Send a test email."""
    words = "This is a test email that `manage.py doctor --mail` sent."
    try:
        EmailMessage("Test email from Sandbox Portal", words, to=[address]).send()
    except (OSError, smtplib.SMTPException) as exc:
        yield error(
            f"The mail server rejected the email to {address}: {redacted(exc)}.", MAIL_REMEDY
        )
        return
    yield ok(f"An email to {address} was sent. Check whether it arrives.")


def friendbot() -> Findings:
    """Check that Friendbot responds; a request without an account is a bad request."""
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
            "Allow the worker to reach it. Sandboxes run, but their accounts aren't funded.",
        )
        return
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        words = f"Friendbot returned {response.status}."
        yield warning(words, "Accounts aren't funded until Friendbot works again.")
        return
    yield ok("Friendbot responds.")
