"""A Stellar account for each sandbox: a key pair, funded by friendbot.

Friendbot: https://developers.stellar.org/docs/learn/fundamentals/networks#friendbot
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F

from sandboxes.core.journal import record
from sandboxes.lib import clock
from sandboxes.models import NOT_ENDING, Funding, Sandbox
from sandboxes.stellar.friendbot import (
    TIMEOUT_SECONDS,
    FriendbotRejected,
    FriendbotRetryable,
    ask_friendbot,
)

log = structlog.get_logger(__name__)
MAX_ATTEMPTS = 10
FIRST_DELAY = timedelta(seconds=5)
MAX_DELAY = timedelta(minutes=15)


def _retry_delay(attempts: int) -> timedelta:
    return min(FIRST_DELAY * (1 << min(attempts - 1, 12)), MAX_DELAY)


def _claim(sandbox: Sandbox, now: datetime) -> bool:
    """One worker asks at a time; should it die, the next try is due when its time limit is over."""
    return (
        Sandbox.objects.filter(
            pk=sandbox.pk,
            state__in=NOT_ENDING,
            funding=Funding.PENDING,
            funding_due_at__lte=now,
        ).update(
            funding_due_at=now + timedelta(seconds=2 * TIMEOUT_SECONDS),
            funding_attempts=F("funding_attempts") + 1,
        )
        == 1
    )


def fund(sandbox: Sandbox) -> None:
    """Ask friendbot once if that is due, and record what came of it."""
    if not _claim(sandbox, clock.now()):
        return
    sandbox.refresh_from_db()
    try:
        ask_friendbot(sandbox.stellar_public_key)
    except FriendbotRejected as refused:
        _record(sandbox, Funding.FAILED, str(refused))
    except FriendbotRetryable as later:
        if sandbox.funding_attempts >= MAX_ATTEMPTS:
            _record(sandbox, Funding.FAILED, f"{later}; gave up after {MAX_ATTEMPTS} tries")
        else:
            wait = max(later.retry_after, _retry_delay(sandbox.funding_attempts))
            _record(sandbox, Funding.PENDING, str(later), due_at=clock.now() + wait)
    else:
        _record(sandbox, Funding.FUNDED, "")


@transaction.atomic
def _record(sandbox: Sandbox, funding: Funding, error: str, due_at: datetime | None = None) -> None:
    known = sandbox.funding_error
    rows = Sandbox.objects.not_ending().filter(pk=sandbox.pk).exclude(funding=Funding.FUNDED)
    if funding != Funding.FUNDED:
        # A try that was overtaken by a newer one has nothing to say.
        rows = rows.filter(funding_attempts=sandbox.funding_attempts)
    changed = rows.update(funding=funding, funding_error=error[:200], funding_due_at=due_at)
    log.info("funding", sandbox=sandbox.public_id, funding=str(funding), error=error)
    # A friendbot that stays down would fill the journal with one and the same line.
    if changed and (funding != Funding.PENDING or error != known):
        record(sandbox, f"funding_{funding}", error or "Friendbot funded the Stellar account.")
