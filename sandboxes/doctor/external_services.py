"""External services: the mail server."""

from __future__ import annotations

import smtplib
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from sandboxes.doctor.findings import Findings, error, ok, redacted, warning

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
        EmailMessage(f"Test email from {settings.PORTAL_NAME}", words, to=[address]).send()
    except (OSError, smtplib.SMTPException) as exc:
        yield error(
            f"The mail server rejected the email to {address}: {redacted(exc)}.", MAIL_REMEDY
        )
        return
    yield ok(f"An email to {address} was sent. Check whether it arrives.")
