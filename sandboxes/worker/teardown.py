"""Tear sandboxes down, and end those that failed."""

from __future__ import annotations

from datetime import timedelta

import structlog

from sandboxes.core import (
    journal,
    leases,
    lifecycle,
)
from sandboxes.lib import clock
from sandboxes.metrics import outcomes
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.runtime import (
    EngineRefused,
    NotReady,
    RuntimeFailure,
    get_runtime,
)
from sandboxes.usage import series
from sandboxes.worker.log_tail import collect_log_tails, store_log_tails

log = structlog.get_logger(__name__)

RETRY_DELAY = timedelta(seconds=5)
MAX_RETRY_DELAY = timedelta(minutes=10)


def clean_up_after_lost_lease(sandbox: Sandbox) -> None:
    """Remove what this worker created after the sandbox had ended, if it has."""
    sandbox.refresh_from_db()
    if sandbox.is_not_ending:
        return  # Another worker is provisioning it, or has finished.
    try:
        get_runtime().destroy(sandbox.public_id)
    except RuntimeFailure as error:
        log.warning("left_to_the_reaper", sandbox=sandbox.public_id, error=str(error))
    tear_down(sandbox)


def fail_with_error(sandbox: Sandbox, reason: EndReason, error: Exception) -> bool:
    """End a sandbox that failed with this error."""
    if isinstance(error, EngineRefused):
        outcomes.record_engine_error("create")
    service = error.service if isinstance(error, NotReady) else ""
    code = error.exit_code if isinstance(error, NotReady) else None
    return fail(sandbox, reason, str(error), service, code)


def fail(
    sandbox: Sandbox,
    reason: EndReason,
    message: str,
    service: str = "",
    exit_code: int | None = None,
) -> bool:
    """End a sandbox that failed and store the last log lines of its services.

    Return False if its state or its lease has changed since the failure was observed.
    """
    failure = {
        "service": service,
        "exit_code": exit_code,
        "log_tail": collect_log_tails(sandbox),
    }
    ended = lifecycle.begin_destroy(
        sandbox,
        reason,
        message,
        expected=[sandbox.state],
        lease_token=sandbox.lease_token,
        failure=failure,
    )
    if ended:
        tear_down(sandbox)
    return ended


def tear_down(sandbox: Sandbox) -> bool:
    """Remove all objects of a sandbox from the engine.

    Return False if another worker is removing it, or if the removal has to be retried.
    """
    if not leases.acquire_lease(sandbox, [State.DESTROYING]):
        return False
    store_log_tails(sandbox)
    try:
        get_runtime().destroy(sandbox.public_id)
    except RuntimeFailure as error:
        _postpone_removal(sandbox, error)
        return False
    return lifecycle.mark_destroyed(sandbox, series.peak_usage(sandbox))


def _postpone_removal(sandbox: Sandbox, error: RuntimeFailure) -> None:
    outcomes.record_engine_error("destroy")
    attempts = sandbox.removal_attempts + 1
    delay = min(RETRY_DELAY * 2 ** min(attempts - 1, 10), MAX_RETRY_DELAY)
    message = str(error)[:300]
    until = clock.now() + delay
    values = {"removal_attempts": attempts, "removal_error": message}
    kept = leases.release_lease(sandbox, State.DESTROYING, until, **values)
    if kept and message != sandbox.removal_error:
        journal.record(sandbox, "removal_delayed", f"{message} Retrying.")
    log.warning("removal_delayed", sandbox=sandbox.public_id, attempts=attempts, error=message)
