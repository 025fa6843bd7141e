"""The worker's side: make a sandbox, take it down.

Each function may be run again after the process was killed anywhere in it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog

from sandboxes.blueprints import BlueprintNotFound, addresses, load
from sandboxes.core import launch_queue, lifecycle
from sandboxes.core.reaper_policy import GIVE_UP_AFTER
from sandboxes.lib import clock
from sandboxes.metrics import outcomes
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.models.runtime_settings import settings
from sandboxes.runtime import (
    EngineRefused,
    EngineUnreachable,
    NoRoom,
    NotReady,
    Report,
    RuntimeFailure,
    SandboxFacts,
    get_runtime,
)
from sandboxes.usage import series
from sandboxes.worker import log_tail

log = structlog.get_logger(__name__)

RETRY_DELAY = timedelta(seconds=5)
LONGEST_RETRY_DELAY = timedelta(minutes=10)
RENEW_EVERY = timedelta(seconds=5)


class Superseded(Exception):
    """The sandbox was ended, or taken over, while this worker was busy with it."""


class Progress:
    """Writes the steps of provisioning to the row, and keeps the lease while a step waits."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.steps: list[dict[str, Any]] = []
        self.renewed_at = clock.now()

    def report(self, name: str) -> None:
        """The step of this name goes on now. Raises Superseded."""
        now = clock.now()
        if not self.steps or self.steps[-1]["name"] != name:
            self.close("done", now)
            self.steps.append(
                {"name": name, "state": "running", "started_at": now.isoformat(), "seconds": None}
            )
        elif now - self.renewed_at < RENEW_EVERY:
            return
        self.save(now)

    def close(self, state: str, now: datetime) -> None:
        if self.steps and self.steps[-1]["state"] == "running":
            began = datetime.fromisoformat(self.steps[-1]["started_at"])
            self.steps[-1] |= {"state": state, "seconds": round((now - began).total_seconds(), 2)}

    def save(self, now: datetime) -> None:
        self.renewed_at = now
        if not lifecycle.renew(self.sandbox, steps=self.steps):
            raise Superseded


def work_off() -> None:
    """Make what people wait for, one after the other, as long as there is a turn to take."""
    while sandbox := launch_queue.take_next(settings.SANDBOX_MAX_CONCURRENT_LAUNCHES):
        _make(sandbox)


def provision(sandbox: Sandbox) -> None:
    """Make this very sandbox, unless another worker is at it."""
    if lifecycle.take(sandbox):
        _make(sandbox)


def _make(sandbox: Sandbox) -> None:
    """Have it made and set it running, or end it with the reason why that failed."""
    progress = Progress(sandbox)
    try:
        facts = create(sandbox, progress.report)
        progress.close("done", clock.now())
        progress.save(clock.now())
        if not lifecycle.run(sandbox, addresses(facts), facts.traffic_bytes or 0):
            raise Superseded
    except Superseded:
        clear_up(sandbox)
    except EngineUnreachable as error:
        _put_back(sandbox, error)
    except (RuntimeFailure, BlueprintNotFound) as error:
        progress.close("failed", clock.now())
        lifecycle.renew(sandbox, steps=progress.steps)
        give_up(sandbox, EndReason.PROVISION_FAILED, error)


def create(sandbox: Sandbox, report: Report) -> SandboxFacts:
    """Have the runtime make what is missing of it. Raises RuntimeFailure, BlueprintNotFound."""
    variables = sandbox.secrets | {
        "SANDBOX_ID": sandbox.public_id,
        "SANDBOX_LAUNCHED_AT": sandbox.created_at.isoformat(),
        "SANDBOX_STELLAR_PUBLIC_KEY": sandbox.stellar_public_key,
    }
    spec = load(sandbox.blueprint).spec(sandbox.public_id, variables, sandbox.disk_mb)
    time_limit = float(settings.SANDBOX_PROVISION_TIMEOUT_SECONDS)
    while True:
        try:
            return get_runtime().create(spec, report, time_limit)
        except NoRoom:
            if sandbox.is_stock or not _empty_a_place():
                raise


def _empty_a_place() -> bool:
    """The pool gives way to people. False: there is nothing in it that could."""
    for row in Sandbox.objects.pooled().order_by("created_at"):
        if lifecycle.end(row, EndReason.RETIRED, "Somebody needed its place."):
            return tear_down(row)
    return False


def clear_up(sandbox: Sandbox) -> None:
    """After losing the sandbox: what this worker made last may have come after its removal."""
    sandbox.refresh_from_db()
    if sandbox.is_standing:
        return  # Another worker goes on with it, or has set it running.
    try:
        get_runtime().destroy(sandbox.public_id)
    except RuntimeFailure as error:
        log.warning("left_to_the_reaper", sandbox=sandbox.public_id, error=str(error))
    tear_down(sandbox)


def _put_back(sandbox: Sandbox, error: EngineUnreachable) -> None:
    """The engine is away: try again when it is back, but not for ever."""
    outcomes.note_engine_error("create")
    now = clock.now()
    if now - sandbox.created_at > GIVE_UP_AFTER:
        give_up(sandbox, EndReason.PROVISION_FAILED, error)
    elif lifecycle.renew(sandbox, until=now + RETRY_DELAY):
        lifecycle.journal(sandbox, "delayed", f"{error} It is tried again.")


def give_up(sandbox: Sandbox, reason: EndReason, error: Exception) -> bool:
    """End a sandbox that this error broke."""
    if isinstance(error, EngineRefused):
        outcomes.note_engine_error("create")
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
    """End a sandbox that broke, keeping what its services said last.

    False: it is no longer in the state, or in the hands, in which it was seen broken.
    """
    failure = {"service": service, "exit_code": exit_code, "log_tail": log_tail.of(sandbox)}
    seen = [sandbox.state]
    ended = lifecycle.end(
        sandbox, reason, message, expected=seen, attempt=sandbox.attempt, failure=failure
    )
    if ended:
        tear_down(sandbox)
    return ended


def tear_down(sandbox: Sandbox) -> bool:
    """Remove all of it from the engine. False: another is at it, or it must be tried again."""
    if not lifecycle.hold(sandbox, [State.DESTROYING]):
        return False
    log_tail.keep(sandbox)
    try:
        get_runtime().destroy(sandbox.public_id)
    except RuntimeFailure as error:
        _postpone_removal(sandbox, error)
        return False
    return lifecycle.finish(sandbox, series.peak(sandbox))


def _postpone_removal(sandbox: Sandbox, error: RuntimeFailure) -> None:
    outcomes.note_engine_error("destroy")
    attempts = sandbox.removal_attempts + 1
    delay = min(RETRY_DELAY * 2 ** min(attempts - 1, 10), LONGEST_RETRY_DELAY)
    message = str(error)[:300]
    until = clock.now() + delay
    trouble = {"removal_attempts": attempts, "removal_error": message}
    kept = lifecycle.release(sandbox, State.DESTROYING, until, **trouble)
    if kept and message != sandbox.removal_error:
        lifecycle.journal(sandbox, "removal_delayed", f"{message} It is tried again.")
    log.warning("removal_delayed", sandbox=sandbox.public_id, attempts=attempts, error=message)
