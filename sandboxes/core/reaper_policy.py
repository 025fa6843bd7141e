"""Rules of the reaper: decide what to do with a sandbox from its row, an observation and the time.

This module has no side effects, so that a table of cases can test every rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sandboxes.core.leases import is_leased
from sandboxes.lib import clock
from sandboxes.models import DeadlineKind, EndReason, Sandbox, State
from sandboxes.models.abstract.claims import LONGEST_LEASE
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import ProbeResult, SandboxFacts, ServiceState

PROVISION_DEADLINE = timedelta(minutes=10)
"""Age at which a sandbox that isn't ready counts as failed."""
FILES_PER_MB = 64
"""Files and directories allowed per MB of disk: as many as file systems usually provide."""
REQUEUE_AFTER = timedelta(seconds=10)
"""Age at which a request that no worker has started counts as lost by the queue."""
USED_BEFORE_RESTORE = "It was used before the portal was restored from a backup."

NOT_READY_REMEDY = (
    "The sandbox itself responds, so its data may be the cause; a reset restores the seed data."
)


class Action(StrEnum):
    EXPIRE = "expire"
    FAIL = "fail"
    WARN = "warn"
    REQUEUE = "requeue"
    RESTART = "restart"
    REPAIR = "repair"
    VERIFY = "verify"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Decision:
    """An action for one sandbox, and the reason for it."""

    action: Action
    message: str
    reason: EndReason | None = None
    service: str = ""
    exit_code: int | None = None

    @property
    def is_repairable(self) -> bool:
        return self.action in (Action.RESTART, Action.REPAIR)

    @property
    def is_deadline(self) -> bool:
        deadlines = (EndReason.EXPIRED, EndReason.IDLE, EndReason.HEARTBEAT)
        return self.action is Action.EXPIRE and self.reason in deadlines


@dataclass(frozen=True)
class Observation:
    """State of one sandbox on the engine, what it should be, and earlier warnings."""

    engine_answered: bool
    facts: SandboxFacts | None = None
    ports: Mapping[str, Collection[int]] = field(default_factory=dict)
    """The ports that each service of the blueprint publishes."""
    probe: ProbeResult | None = None
    """None if the sandbox wasn't probed."""
    warned: Collection[tuple[str, datetime]] = ()
    """Deadlines of which the owner was warned, each with its `DeadlineKind`."""


def decide(sandbox: Sandbox, observation: Observation, now: datetime) -> Decision | None:
    """Return the action that this sandbox needs now, or None."""
    leased = is_leased(sandbox, now)
    if sandbox.state == State.DESTROYING:
        ready = observation.engine_answered and not leased
        return Decision(Action.DESTROY, "its removal isn't finished") if ready else None
    if sandbox.is_for_pool:
        return _decide_pooled(sandbox, observation, now, leased)
    if sandbox.owner is None or not sandbox.owner.is_active:
        return Decision(Action.EXPIRE, "The owner's account was closed.", EndReason.OPERATOR)
    if sandbox.state == State.RUNNING:
        return (
            _expired(sandbox, now)
            or _abandoned(sandbox, now)
            or _claimed_twice(sandbox, observation)
            # Before anything that an interrupted reset may have left broken.
            or _overdue_reset(sandbox, now, leased)
            or _broken(sandbox, observation, now, leased)
            or _unmarked(sandbox, observation, leased)
            or _idle(sandbox, observation, now)
            or _warning(sandbox, observation, now)
        )
    return _abandoned(sandbox, now) or (None if leased else _unfinished_launch(sandbox, now))


def _decide_pooled(
    sandbox: Sandbox, observation: Observation, now: datetime, leased: bool
) -> Decision | None:
    """Decide about a sandbox that was created for the pool and has no owner."""
    if sandbox.state != State.POOLED:
        interrupted = Decision(Action.EXPIRE, "Setup was interrupted.", EndReason.RETIRED)
        return None if leased else interrupted
    if observation.facts and observation.facts.claim:
        return Decision(Action.EXPIRE, USED_BEFORE_RESTORE, EndReason.RETIRED)
    broken = _broken(sandbox, observation, now, leased)
    if broken and broken.is_repairable:
        return Decision(Action.EXPIRE, broken.message, EndReason.RETIRED)
    return broken


def claim_mark(sandbox: Sandbox) -> str:
    """Return the mark of this claim from the pool; it differs from that of any other claim."""
    return f"{sandbox.owner_id} {sandbox.started_at:%Y-%m-%dT%H:%M:%S.%f}"


def _claimed_twice(sandbox: Sandbox, observation: Observation) -> Decision | None:
    facts = observation.facts
    if not sandbox.from_pool or not observation.engine_answered or facts is None:
        return None
    if facts.claim not in ("", claim_mark(sandbox)):
        return Decision(Action.EXPIRE, USED_BEFORE_RESTORE, EndReason.RETIRED)
    return None


def _unmarked(sandbox: Sandbox, observation: Observation, leased: bool) -> Decision | None:
    """Verify a claim again whose worker was killed before it marked the sandbox."""
    if not sandbox.from_pool or leased or not observation.facts or observation.facts.claim:
        return None
    return Decision(Action.VERIFY, "its claim isn't verified")


def _unfinished_launch(sandbox: Sandbox, now: datetime) -> Decision | None:
    if now - sandbox.created_at > PROVISION_DEADLINE:
        return Decision(Action.FAIL, "Setup took too long.", EndReason.PROVISION_FAILED)
    overdue = clock.is_older(sandbox.created_at, now, REQUEUE_AFTER)
    if sandbox.state == State.PROVISIONING or overdue:
        return Decision(Action.REQUEUE, "no worker is processing it")
    return None


def _expired(sandbox: Sandbox, now: datetime) -> Decision | None:
    if sandbox.expires_at and sandbox.expires_at <= now:
        return Decision(Action.EXPIRE, "Its lifetime ended.", EndReason.EXPIRED)
    return None


def _abandoned(sandbox: Sandbox, now: datetime) -> Decision | None:
    """End a sandbox whose client has stopped without destroying it."""
    if sandbox.heartbeat_expires_at and sandbox.heartbeat_expires_at <= now:
        message = f"Its client sent no heartbeat for {sandbox.heartbeat_seconds} seconds."
        return Decision(Action.EXPIRE, message, EndReason.HEARTBEAT)
    return None


def _idle(sandbox: Sandbox, observation: Observation, now: datetime) -> Decision | None:
    # A sandbox whose traffic can't be measured may have been used.
    if (
        observation.facts is None
        or not observation.facts.alive
        or observation.facts.traffic_bytes is None
    ):
        return None
    if sandbox.idle_expires_at and sandbox.idle_expires_at <= now:
        message = f"No requests for {sandbox.idle_minutes} minutes."
        return Decision(Action.EXPIRE, message, EndReason.IDLE)
    return None


def _broken(
    sandbox: Sandbox, observation: Observation, now: datetime, leased: bool
) -> Decision | None:
    # A sandbox that a worker is restarting or recreating is incomplete for now.
    if leased or not observation.engine_answered:
        return None
    if observation.facts is None or not observation.facts.services:
        return Decision(Action.FAIL, "The sandbox is no longer on the engine.", EndReason.LOST)
    for name in observation.ports:
        if name not in observation.facts.services:
            message = f"The service {name} is no longer on the engine."
            return Decision(Action.FAIL, message, EndReason.LOST, name)
    return (
        _stopped(observation.facts)
        or _over_disk_limit(sandbox, observation.facts)
        or _disconnected(observation.facts, observation.ports)
        or _unresponsive(sandbox, observation.probe, now)
    )


def _stopped(facts: SandboxFacts) -> Decision | None:
    up = (ServiceState.RUNNING, ServiceState.COMPLETED)
    down = {n: s for n, s in facts.services.items() if s.state not in up}
    for name, service in down.items():
        if service.out_of_memory:
            message = f"The service {name} ran out of memory."
            return Decision(Action.FAIL, message, EndReason.OUT_OF_MEMORY, name, service.exit_code)
        if not service.stopped_with_engine and service.state is ServiceState.EXITED:
            message = f"The service {name} stopped with exit code {service.exit_code}."
            return Decision(Action.FAIL, message, EndReason.CRASHED, name, service.exit_code)
    for name, service in down.items():
        if service.state in (ServiceState.PAUSED, ServiceState.RESTARTING):
            return Decision(Action.REPAIR, f"The service {name} was {service.state}.", service=name)
    return Decision(Action.RESTART, "The engine was restarted.") if down else None


def _disconnected(facts: SandboxFacts, ports: Mapping[str, Collection[int]]) -> Decision | None:
    for name, service in facts.services.items():
        if not service.connected:
            message = f"The service {name} was disconnected from its network."
            return Decision(Action.REPAIR, message, service=name)
        for port in ports.get(name, ()):
            if port not in service.ports and service.state is not ServiceState.COMPLETED:
                message = f"The port {port} of the service {name} wasn't published."
                return Decision(Action.REPAIR, message, service=name)
    return None


def _unresponsive(sandbox: Sandbox, probe: ProbeResult | None, now: datetime) -> Decision | None:
    if probe is None or not probe.problem:
        return None
    # The last repair left a sandbox alone that responds: its data may be the cause.
    left_alone = clock.is_ahead(sandbox.repair_after, now, LONGEST_LEASE)
    if probe.responded and left_alone:
        return None
    return Decision(Action.REPAIR, probe.problem, service=probe.service)


def _over_disk_limit(sandbox: Sandbox, facts: SandboxFacts) -> Decision | None:
    if facts.disk_mb is not None and facts.disk_mb > sandbox.disk_mb:
        message = f"Used {facts.disk_mb:.0f} MB of {sandbox.disk_mb} MB of disk allowed."
        return Decision(Action.FAIL, message, EndReason.DISK_FULL)
    max_files = sandbox.disk_mb * FILES_PER_MB
    if facts.files is not None and facts.files > max_files:
        message = f"Used more than the {max_files:,} files and directories allowed."
        return Decision(Action.FAIL, message, EndReason.DISK_FULL)
    return None


def _overdue_reset(sandbox: Sandbox, now: datetime, leased: bool) -> Decision | None:
    requested_at = sandbox.reset_requested_at
    if requested_at and not leased and clock.is_older(requested_at, now, REQUEUE_AFTER):
        return Decision(Action.REQUEUE, "its reset isn't finished")
    return None


def warning_lead(sandbox: Sandbox) -> timedelta:
    """Return how long before its next deadline the owner of the sandbox is warned."""
    lead = timedelta(minutes=config.SANDBOX_WARNING_MINUTES)
    minutes = sandbox.idle_minutes if sandbox.ends_because == "idle" else sandbox.ttl_minutes
    # A warning must not cover all of a short idle timeout or lifetime.
    return min(lead, timedelta(minutes=minutes) / 2) if minutes else lead


def _warning(sandbox: Sandbox, observation: Observation, now: datetime) -> Decision | None:
    """Warn of the next deadline, once for each."""
    if sandbox.ends_because == "idle":
        kind, reason, message = DeadlineKind.IDLE, EndReason.IDLE, "it is idle"
    else:
        kind, reason, message = DeadlineKind.EXPIRED, EndReason.EXPIRED, "it expires soon"
    if sandbox.ends_at is None or sandbox.ends_at > now + warning_lead(sandbox):
        return None
    if (kind, sandbox.ends_at) in observation.warned:
        return None
    return Decision(Action.WARN, message, reason)
