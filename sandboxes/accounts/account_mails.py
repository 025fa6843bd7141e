"""Emails about accounts: links to verify an address or to reset a password, and notices.

They are sent at once, because their readers wait for them. If the mail server is down, a worker
sends them later: the page responds as usual and nothing is lost.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.core.mail import EmailMessage, EmailMultiAlternatives

from sandboxes.lib import clock
from sandboxes.lib.batches import Batch
from sandboxes.lib.circuit_breaker import CircuitBreaker
from sandboxes.models import AccountMail

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=1)
"""Time for one email before another worker takes over."""
RETRY_DELAY = timedelta(minutes=1)
RETENTION = timedelta(days=3)
"""How long the links in emails work; older emails are dropped."""
PAUSE_SECONDS = 30
CANDIDATES = 10

_batch = Batch("account_mails")
breaker = CircuitBreaker(PAUSE_SECONDS)
"""While the mail server is down, requests don't wait for it."""


def send_or_queue(email: EmailMessage) -> None:
    """Send the email, or store it if the mail server doesn't take it."""
    if breaker.allows_call():
        try:
            email.send()
        except OSError as error:
            breaker.record_failure()
            log.warning("mail_not_sent", error=str(error))
        else:
            breaker.record_success()
            return
    AccountMail.objects.create(content=_content(email), due_at=clock.now() + RETRY_DELAY)


def send_due() -> None:
    """Send the stored emails that are due, oldest first."""
    AccountMail.objects.filter(created_at__lt=clock.now() - RETENTION).delete()
    _batch.run(_send_next)


def _send_next() -> bool:
    now = clock.now()
    due = AccountMail.objects.due(now)
    for row in due.order_by("due_at")[:CANDIDATES]:
        if due.claim(row.pk, due_at=now + LEASE):
            _send_or_postpone(row)
            return True
    return False


def _send_or_postpone(row: AccountMail) -> None:
    try:
        _email(row.content).send()
    except OSError as error:
        log.warning("mail_not_sent", mail=row.pk, error=str(error))
        AccountMail.objects.filter(pk=row.pk).update(due_at=clock.now() + RETRY_DELAY)
    else:
        row.delete()


def _content(email: EmailMessage) -> dict[str, str]:
    alternatives = getattr(email, "alternatives", ())
    html = next((str(content) for content, kind in alternatives if kind == "text/html"), "")
    return {
        "to": email.to[0],
        "from": email.from_email,
        "subject": str(email.subject),
        "text": str(email.body),
        "html": html,
    }


def _email(content: dict[str, str]) -> EmailMultiAlternatives:
    sender, to = content["from"], [content["to"]]
    email = EmailMultiAlternatives(content["subject"], content["text"], sender, to)
    if html := content["html"]:
        email.attach_alternative(html, "text/html")
    return email
