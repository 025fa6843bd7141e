"""What is to be done with a sandbox: a row, what was seen of it and the time give a decision.

Nothing here reads or writes anything, so that every rule is a line of a table test.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sandboxes.models import EndReason, Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import SandboxFacts, ServiceState

PROVISION_DEADLINE = timedelta(minutes=10)
"""A sandbox that could not be made in this time never will be."""
REQUEUE_AFTER = timedelta(seconds=10)
"""A request that nobody has taken up for so long was lost with the queue."""


class Action(StrEnum):
    EXPIRE = "expire"
    FAIL = "fail"
    WARN = "warn"
    REQUEUE = "requeue"
    RESTART = "restart"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Decision:
    """What is to be done with one sandbox, and why."""

    action: Action
    message: str
    reason: EndReason | None = None
    service: str = ""
    exit_code: int | None = None

    @property
    def is_deadline(self) -> bool:
        return self.action is Action.EXPIRE and self.reason in (EndReason.EXPIRED, EndReason.IDLE)


@dataclass(frozen=True)
class Observation:
    """What one look at the engine tells of a sandbox that should have these services."""

    engine_answered: bool
    facts: SandboxFacts | None = None
    services: Collection[str] = ()


def decide(sandbox: Sandbox, seen: Observation, now: datetime) -> Decision | None:
    """The one thing to do with this row now, or None."""
    held = sandbox.lease_until is not None and sandbox.lease_until > now
    if sandbox.state == State.DESTROYING:
        ready = seen.engine_answered and not held
        return Decision(Action.DESTROY, "its removal is not finished") if ready else None
    if sandbox.is_for_pool:
        return _decide_pooled(sandbox, seen, held)
    if sandbox.owner is None or not sandbox.owner.is_active:
        return Decision(Action.EXPIRE, "Its owner's account was closed.", EndReason.OPERATOR)
    if sandbox.state == State.RUNNING:
        return (
            _expired(sandbox, now)
            or _broken(sandbox, seen, held)
            or _idle(sandbox, seen, now)
            or _overdue_reset(sandbox, now, held)
            or _warning(sandbox, now)
        )
    return None if held else _unfinished_launch(sandbox, now)


def _decide_pooled(sandbox: Sandbox, seen: Observation, held: bool) -> Decision | None:
    """Decide about a sandbox of the pool: whether it is intact."""
    if sandbox.state != State.POOLED:
        half_made = Decision(Action.EXPIRE, "It was left half made.", EndReason.RETIRED)
        return None if held else half_made
    broken = _broken(sandbox, seen, held)
    if broken and broken.action is Action.RESTART:
        return Decision(Action.EXPIRE, "The engine was restarted.", EndReason.RETIRED)
    return broken


def _unfinished_launch(sandbox: Sandbox, now: datetime) -> Decision | None:
    waits = now - sandbox.created_at
    if waits > PROVISION_DEADLINE:
        return Decision(Action.FAIL, "It could not be made in time.", EndReason.PROVISION_FAILED)
    if sandbox.state == State.PROVISIONING or waits > REQUEUE_AFTER:
        return Decision(Action.REQUEUE, "no worker is busy with it")
    return None


def _expired(sandbox: Sandbox, now: datetime) -> Decision | None:
    if sandbox.expires_at and sandbox.expires_at <= now:
        return Decision(Action.EXPIRE, "Its time was up.", EndReason.EXPIRED)
    return None


def _idle(sandbox: Sandbox, seen: Observation, now: datetime) -> Decision | None:
    # Traffic that could not be measured may have been there, or would have been.
    if seen.facts is None or not seen.facts.alive or seen.facts.traffic_bytes is None:
        return None
    if sandbox.idle_expires_at and sandbox.idle_expires_at <= now:
        why = f"It had no traffic for {sandbox.idle_minutes} minutes."
        return Decision(Action.EXPIRE, why, EndReason.IDLE)
    return None


def _broken(sandbox: Sandbox, seen: Observation, held: bool) -> Decision | None:
    # What a worker is starting again, or making anew, is not whole meanwhile.
    if held or not seen.engine_answered:
        return None
    if seen.facts is None or not seen.facts.services:
        return Decision(Action.FAIL, "It is not on the engine any more.", EndReason.LOST)
    for name in seen.services:
        if name not in seen.facts.services:
            why = f"The service {name} is not on the engine any more."
            return Decision(Action.FAIL, why, EndReason.LOST, name)
    return _stopped(seen.facts) or _over_disk_limit(sandbox, seen.facts)


def _stopped(facts: SandboxFacts) -> Decision | None:
    down = {n: s for n, s in facts.services.items() if s.state is not ServiceState.RUNNING}
    for name, service in down.items():
        if service.out_of_memory:
            why = f"The service {name} ran out of memory."
            return Decision(Action.FAIL, why, EndReason.OUT_OF_MEMORY, name, service.exit_code)
        if not service.stopped_with_engine and service.state is ServiceState.EXITED:
            why = f"The service {name} stopped with exit code {service.exit_code}."
            return Decision(Action.FAIL, why, EndReason.CRASHED, name, service.exit_code)
    if down:
        return Decision(Action.RESTART, "the engine was restarted")
    return None


def _over_disk_limit(sandbox: Sandbox, facts: SandboxFacts) -> Decision | None:
    if facts.disk_mb is not None and facts.disk_mb > sandbox.disk_mb:
        why = f"It wrote {facts.disk_mb:.0f} MB; {sandbox.disk_mb} MB are allowed."
        return Decision(Action.FAIL, why, EndReason.DISK_FULL)
    return None


def _overdue_reset(sandbox: Sandbox, now: datetime, held: bool) -> Decision | None:
    asked = sandbox.reset_requested_at
    if asked and not held and now - asked > REQUEUE_AFTER:
        return Decision(Action.REQUEUE, "its reset is not finished")
    return None


def _warning(sandbox: Sandbox, now: datetime) -> Decision | None:
    """Of the clock that ends it, once for each deadline."""
    lead = timedelta(minutes=config.SANDBOX_WARNING_MINUTES)
    if sandbox.ends_because == "idle":
        # With a short idle time, all of it would be a warning.
        lead = min(lead, timedelta(minutes=sandbox.idle_minutes) / 2)
        warned, reason, why = sandbox.warned_idle_for, EndReason.IDLE, "it has been idle for long"
    else:
        warned, reason, why = sandbox.warned_expiry_for, EndReason.EXPIRED, "its time is nearly up"
    if sandbox.ends_at and sandbox.ends_at <= now + lead and warned != sandbox.ends_at:
        return Decision(Action.WARN, why, reason)
    return None
