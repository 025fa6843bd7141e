"""Emails to owners: warnings, operators' messages, and notices about ends and webhooks.

A warning is one row, which is both the source of the banner and the queue of its email. Webhooks
receive the journal event that is recorded with it. An operator's message is an event of the
journal, whose row is the queue of its email. Warnings have threads of their own, so that they don't
wait for other emails.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from sandboxes.core.journal import record
from sandboxes.lib import clock, mail
from sandboxes.lib.batches import Batch
from sandboxes.models import DeadlineKind, Event, EventKind, SandboxWarning, Webhook
from sandboxes.notifications import signed_links

log = structlog.get_logger(__name__)

MAIL_LEASE = timedelta(minutes=1)
"""Time for one email before another worker takes over. Each step of sending has `EMAIL_TIMEOUT`."""
CANDIDATES = 10
"""Due rows to try to claim: another worker may take the first ones in the meantime."""
RETRY_DELAY = timedelta(seconds=15)
MESSAGE_RETRY_DELAY = timedelta(minutes=1)
MESSAGE_LIFETIME = timedelta(days=1)
"""How long an operator's message is retried."""

_warnings = Batch("warnings")
_messages = Batch("messages")


def send_due_mails() -> None:
    """Send the emails of warnings that are due; failed ones are retried after a delay."""
    _warnings.run(_send_next_warning)


def _send_next_warning() -> bool:
    now = clock.now()
    due = SandboxWarning.objects.mail_due(now)
    rows = due.order_by("mail_due_at").select_related("sandbox__owner").defer("sandbox__secrets")
    for warning in rows[:CANDIDATES]:
        if due.claim(warning.pk, mail_due_at=now + MAIL_LEASE):
            _send_if_current(warning)
            return True
    return False


def _send_if_current(warning: SandboxWarning) -> None:
    rows = SandboxWarning.objects.filter(pk=warning.pk)
    owner = warning.sandbox.owner
    is_over = not warning.is_current or warning.deadline <= clock.now()
    if is_over or owner is None or not owner.email:
        rows.update(mail_due_at=None)
        return
    try:
        send_warning(warning)
    except OSError as error:
        log.warning("mail_not_sent", sandbox=warning.sandbox.public_id, error=str(error))
        rows.update(mail_due_at=clock.now() + RETRY_DELAY)
        return
    with transaction.atomic():
        rows.update(mail_due_at=None, mailed_at=clock.now())
        record(warning.sandbox, EventKind.MAILED, f"Warning sent to {owner.email}.")


def send_warning(warning: SandboxWarning) -> None:
    """Send the email of a warning. Raises OSError."""
    sandbox = warning.sandbox
    assert sandbox.owner
    is_extended = sandbox.extensions.filter(by_operator=False).exists()
    final = warning.deadline_kind == DeadlineKind.EXPIRED and (
        is_extended or sandbox.expires_at == sandbox.hard_cap_at
    )
    unsubscribe = signed_links.unsubscribe_url(sandbox.owner, warning.deadline_kind)
    context = {
        "sandbox": sandbox,
        "warning": warning,
        "idle": warning.deadline_kind == DeadlineKind.IDLE,
        "keep_alive_url": "" if final else signed_links.keep_alive_url(warning),
        "url": signed_links.absolute_url("sandbox", sandbox.public_id),
        "preferences_url": signed_links.absolute_url("preferences"),
        "unsubscribe_url": unsubscribe,
    }
    # RFC 8058: with these headers, mail programs show a one-click unsubscribe button.
    headers = {
        "List-Unsubscribe": f"<{unsubscribe}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
    }
    mail.send_templated("warning", sandbox.owner.email, context, headers)


def send_due_messages() -> None:
    """Send operators' messages that are due; failed ones are retried after a delay."""
    _messages.run(_send_next_message)


def _send_next_message() -> bool:
    now = clock.now()
    due = Event.objects.mail_due(now)
    rows = due.order_by("mail_due_at").select_related("sandbox__owner").defer("sandbox__secrets")
    for event in rows[:CANDIDATES]:
        if due.claim(event.pk, mail_due_at=now + MAIL_LEASE):
            Event.objects.filter(pk=event.pk).update(mail_due_at=_send_or_postpone(event))
            return True
    return False


def _send_or_postpone(event: Event) -> datetime | None:
    """Send the message; return when to try again."""
    try:
        send_message(event)
    except OSError as error:
        log.warning("mail_not_sent", sandbox=event.sandbox.public_id, error=str(error))
        now = clock.now()
        return now + MESSAGE_RETRY_DELAY if now < event.created_at + MESSAGE_LIFETIME else None
    return None


def send_message(event: Event) -> None:
    """Send the owner the email of this event. Raises OSError.

    It contains an operator's message, the reason for the end of the sandbox, or that its machine is
    away; the latter is only sent while that is so.
    """
    sandbox = event.sandbox
    if sandbox.owner is None or not sandbox.owner.email:
        return
    if event.kind == EventKind.UNREACHABLE and not sandbox.is_replaceable:
        return
    url = signed_links.absolute_url("sandbox", sandbox.public_id)
    context = {"sandbox": sandbox, "text": event.message, "url": url}
    names = {EventKind.ENDING: "ended", EventKind.UNREACHABLE: "unreachable"}
    name = names.get(EventKind(event.kind), "message")
    mail.send_templated(name, sandbox.owner.email, context)


def send_webhook_disabled(webhook: Webhook) -> None:
    """Notify the owner that a webhook was disabled.

    A failure is only logged, because the page of the webhook shows the same.
    """
    if not webhook.user.email:
        return
    url = signed_links.absolute_url("webhook", webhook.public_id)
    try:
        mail.send_templated(
            "webhook_disabled", webhook.user.email, {"webhook": webhook, "url": url}
        )
    except OSError as error:
        log.warning("mail_not_sent", webhook=webhook.public_id, error=str(error))
