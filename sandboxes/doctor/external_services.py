"""External services: the mail server, and the proxy with the site's certificate."""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from sandboxes.doctor.findings import Findings, error, ok, redacted, warning
from sandboxes.lib import clock
from sandboxes.metrics import dependencies

SERVERS = "smtp"
RENEW_BEFORE = timedelta(days=14)
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


def site_certificate() -> Findings:
    """Check the certificate that browsers get at SITE_URL."""
    try:
        expiry = dependencies.site_certificate_expiry()
    except ssl.SSLCertVerificationError as exc:
        yield error(
            f"The certificate at {settings.SITE_URL} isn't valid: {exc.verify_message}.",
            "Renew it. If your own authority issued it, add that to this machine's certificates, "
            "or name its file in SSL_CERT_FILE.",
        )
        return
    except OSError as exc:
        yield warning(
            f"{settings.SITE_URL} can't be reached from here: {redacted(exc)}.",
            "Check the proxy and the DNS record, or watch the certificate from elsewhere.",
        )
        return
    if expiry is None:
        yield ok("SITE_URL has no HTTPS, and so no certificate.")
        return
    at = datetime.fromtimestamp(expiry, UTC)
    words = f"The certificate at {settings.SITE_URL} is valid until {at:%d %B %Y}."
    if at - clock.now() < RENEW_BEFORE:
        yield warning(words, "Renew it, and check why that wasn't done automatically.")
    else:
        yield ok(words)


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
