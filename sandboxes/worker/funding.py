"""Fund the accounts of sandboxes whose blueprint asks for one.

The rows are the queue. While the faucet, which funds test accounts, fails, attempts pause for all
accounts together: after each pause, one account is tried (a circuit breaker), so that an outage
costs a request a minute and not one for each sandbox.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F, Q

from sandboxes.core.journal import record
from sandboxes.lib import clock
from sandboxes.lib.backoff import Backoff
from sandboxes.lib.batches import Batch
from sandboxes.models import EventKind, Funding, FundingStatus, Sandbox
from sandboxes.models.abstract.claims import is_due as is_due_at
from sandboxes.models.sandbox import SandboxQuerySet
from sandboxes.stellar import (
    MAX_RETRY_AFTER,
    TIMEOUT_SECONDS,
    FundingRejected,
    FundingRetryable,
    request_funds,
)

log = structlog.get_logger(__name__)
MAX_ATTEMPTS = 10
RETRY = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=15))
"""Delays between the attempts for one account."""
PAUSE = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=1))
"""Pauses of all attempts while the faucet fails."""
MAX_FAILURES_IN_A_ROW = 5
"""Failed attempts for single accounts after which the faucet itself is taken to fail."""
ATTEMPT_LEASE = timedelta(seconds=2 * TIMEOUT_SECONDS)
"""Time for one attempt, after which another worker may repeat it."""
CANDIDATES = 10

_batch = Batch("funding")


def fund_due() -> None:
    """Request funds for each account that is due, unless enough threads do so already."""
    _batch.run(_fund_next)


def is_due(now: datetime) -> bool:
    """Return whether an account is due and the faucet may be asked."""
    status = FundingStatus.objects.filter(pk=1).first()
    is_paused = status is not None and status.retry_at is not None and _is_ahead(status, now)
    return not is_paused and _due(now).exists()


def _due(now: datetime) -> SandboxQuerySet:
    longest = max(RETRY.longest, MAX_RETRY_AFTER)
    rows = Sandbox.objects.not_ending().filter(funding=Funding.PENDING)
    return rows.filter(is_due_at("funding_due_at", now, longest))


def _fund_next() -> bool:
    """Fund the account with the fewest attempts; return False if none is due."""
    rows = _due(clock.now()).order_by("funding_attempts", "funding_due_at", "pk")
    # Another thread may take the first one in the meantime.
    return any(fund(row) for row in rows.defer("secrets")[:CANDIDATES])


def fund(sandbox: Sandbox) -> bool:
    """Request funds once if an attempt is due, and record the result.

    Return whether they were requested; not while attempts pause.
    """
    now = clock.now()
    if not _may_ask(now) or not _claim(sandbox, now):
        return False
    sandbox.refresh_from_db(fields=["funding", "funding_attempts", "funding_error"])
    try:
        request_funds(sandbox.stellar_public_key)
    except FundingRejected as error:
        _note_success()
        _record(sandbox, Funding.FAILED, str(error))
    except FundingRetryable as error:
        _note_failure(error)
        if sandbox.funding_attempts >= MAX_ATTEMPTS:
            _record(sandbox, Funding.FAILED, f"{error}; gave up after {MAX_ATTEMPTS} attempts")
        else:
            wait = max(error.retry_after, RETRY.delay(sandbox.funding_attempts))
            _record(sandbox, Funding.PENDING, str(error), due_at=clock.now() + wait)
    else:
        _note_success()
        _record(sandbox, Funding.FUNDED, "")
    return True


def _claim(sandbox: Sandbox, now: datetime) -> bool:
    """Claim the due attempt; if this worker dies, the next one is due after the lease."""
    return _due(now).claim(
        sandbox.pk,
        funding_due_at=now + ATTEMPT_LEASE,
        funding_attempts=F("funding_attempts") + 1,
    )


def _is_ahead(status: FundingStatus, now: datetime) -> bool:
    """Return whether the pause lasts; one longer than any that is set is due to a wrong clock."""
    assert status.retry_at
    return now < status.retry_at <= now + MAX_RETRY_AFTER


def _may_ask(now: datetime) -> bool:
    """Return whether the faucet may be asked; after a pause, by one caller at a time."""
    status = FundingStatus.current()
    if status.retry_at is None:
        return True
    over = Q(retry_at__lte=now) | Q(retry_at__gt=now + MAX_RETRY_AFTER)
    mine = FundingStatus.objects.filter(over, pk=1).update(retry_at=now + ATTEMPT_LEASE)
    return mine == 1


def _note_success() -> None:
    FundingStatus.objects.exclude(failures=0, retry_at=None).update(failures=0, retry_at=None)


def _note_failure(error: FundingRetryable) -> None:
    """Pause all attempts, unless the error is about one account only."""
    failures = FundingStatus.current().failures + 1
    values: dict[str, object] = {"failures": min(failures, 1000)}
    if error.affects_all or failures >= MAX_FAILURES_IN_A_ROW:
        pause = max(error.retry_after, PAUSE.delay(failures))
        values["retry_at"] = clock.now() + pause
        log.warning("funding_paused", error=str(error), retry_in=pause.total_seconds())
    FundingStatus.store(**values)


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
        record(sandbox, EventKind(f"funding_{funding}"), error or "Account funded.")
