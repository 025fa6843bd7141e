"""Fund the Stellar account of a sandbox through Friendbot.

Friendbot: https://developers.stellar.org/docs/learn/fundamentals/networks#friendbot
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F

from sandboxes.core.journal import record
from sandboxes.lib import clock
from sandboxes.lib.backoff import Backoff
from sandboxes.models import EventKind, Funding, Sandbox
from sandboxes.stellar.friendbot import (
    TIMEOUT_SECONDS,
    FriendbotRejected,
    FriendbotRetryable,
    ask_friendbot,
)

log = structlog.get_logger(__name__)
MAX_ATTEMPTS = 10
RETRY = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=15))


def _claim(sandbox: Sandbox, now: datetime) -> bool:
    """Claim the due attempt; if this worker dies, the next one is due after the time limit."""
    due = Sandbox.objects.not_ending().filter(funding=Funding.PENDING, funding_due_at__lte=now)
    return due.claim(
        sandbox.pk,
        funding_due_at=now + timedelta(seconds=2 * TIMEOUT_SECONDS),
        funding_attempts=F("funding_attempts") + 1,
    )


def fund(sandbox: Sandbox) -> None:
    """Ask Friendbot once if an attempt is due, and record the result."""
    if not _claim(sandbox, clock.now()):
        return
    sandbox.refresh_from_db()
    try:
        ask_friendbot(sandbox.stellar_public_key)
    except FriendbotRejected as error:
        _record(sandbox, Funding.FAILED, str(error))
    except FriendbotRetryable as error:
        if sandbox.funding_attempts >= MAX_ATTEMPTS:
            _record(sandbox, Funding.FAILED, f"{error}; gave up after {MAX_ATTEMPTS} attempts")
        else:
            wait = max(error.retry_after, RETRY.delay(sandbox.funding_attempts))
            _record(sandbox, Funding.PENDING, str(error), due_at=clock.now() + wait)
    else:
        _record(sandbox, Funding.FUNDED, "")


@transaction.atomic
def _record(sandbox: Sandbox, funding: Funding, error: str, due_at: datetime | None = None) -> None:
    previous_error = sandbox.funding_error
    rows = Sandbox.objects.not_ending().filter(pk=sandbox.pk).exclude(funding=Funding.FUNDED)
    if funding != Funding.FUNDED:
        # The result of an attempt that a newer one has overtaken is ignored.
        rows = rows.filter(funding_attempts=sandbox.funding_attempts)
    changed = rows.update(funding=funding, funding_error=error[:200], funding_due_at=due_at)
    log.info("funding", sandbox=sandbox.public_id, funding=str(funding), error=error)
    # Record each error once: a long outage would otherwise fill the journal.
    if changed and (funding != Funding.PENDING or error != previous_error):
        record(sandbox, EventKind(f"funding_{funding}"), error or "Stellar account funded.")
