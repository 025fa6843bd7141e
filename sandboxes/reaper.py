"""The sweep that makes the engine and the database agree, and ends what is due.

`decide` is pure: a row, what was observed of it and the time give a verdict. `Sweep` carries the
verdicts out one by one, so that one bad sandbox never stops the others. Sweeps may overlap: every
act behind a verdict is guarded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from django.conf import settings
from django.db import transaction

from sandboxes import clock, housekeeping, lifecycle, provisioning, tasks
from sandboxes.blueprints import addresses
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.runtime import RuntimeFailure, SandboxFacts, ServiceState, get_runtime

log = structlog.get_logger(__name__)

TRAFFIC_NOISE_BYTES = 256
"""Less than one HTTP answer, more than what an unused network sees between two sweeps."""
STALE_AFTER = timedelta(seconds=10)
"""A request that nobody has taken up for so long was lost with the queue."""


class Act(StrEnum):
    END = "end"
    BREAK = "break"
    WARN = "warn"
    RESEND = "resend"
    TEAR_DOWN = "tear_down"


@dataclass(frozen=True)
class Verdict:
    """What is to be done with one sandbox, and why."""

    act: Act
    why: str
    reason: EndReason | None = None
    service: str = ""
    exit_code: int | None = None

    @property
    def by_the_clock(self) -> bool:
        return self.reason in (EndReason.EXPIRED, EndReason.IDLE)


def decide(
    sandbox: Sandbox, facts: SandboxFacts | None, engine_answered: bool, now: datetime
) -> Verdict | None:
    """The one thing to do with this row now, or None."""
    held = sandbox.lease_until is not None and sandbox.lease_until > now
    if sandbox.state == State.RUNNING:
        return (
            _due(sandbox, now)
            or (_broken(sandbox, facts) if engine_answered else None)
            or (_idle(sandbox, now) if engine_answered else None)
            or _reset_overdue(sandbox, now, held)
            or _warning(sandbox, now)
        )
    if held:
        return None
    if sandbox.state == State.DESTROYING:
        return Verdict(Act.TEAR_DOWN, "its removal is not finished")
    if now - sandbox.created_at > provisioning.GIVE_UP_AFTER:
        why = "It could not be made in time."
        return Verdict(Act.BREAK, why, EndReason.PROVISION_FAILED)
    if sandbox.state == State.PROVISIONING or now - sandbox.created_at > STALE_AFTER:
        return Verdict(Act.RESEND, "no worker is busy with it")
    return None


def _due(sandbox: Sandbox, now: datetime) -> Verdict | None:
    if sandbox.owner is None or not sandbox.owner.is_active:
        return Verdict(Act.END, "Its owner's account was closed.", EndReason.OPERATOR)
    if sandbox.expires_at and sandbox.expires_at <= now:
        return Verdict(Act.END, "Its time was up.", EndReason.EXPIRED)
    return None


def _idle(sandbox: Sandbox, now: datetime) -> Verdict | None:
    if sandbox.idle_expires_at and sandbox.idle_expires_at <= now:
        why = f"It had no traffic for {sandbox.idle_minutes} minutes."
        return Verdict(Act.END, why, EndReason.IDLE)
    return None


def _broken(sandbox: Sandbox, facts: SandboxFacts | None) -> Verdict | None:
    if facts is None or not facts.services:
        return Verdict(Act.BREAK, "It is not on the engine any more.", EndReason.LOST)
    for name, service in facts.services.items():
        if service.state is not ServiceState.RUNNING:
            reason, what = EndReason.CRASHED, f"stopped with exit code {service.exit_code}"
            if service.out_of_memory:
                reason, what = EndReason.OUT_OF_MEMORY, "ran out of memory"
            why = f"The service {name} {what}."
            return Verdict(Act.BREAK, why, reason, name, service.exit_code)
    if facts.disk_mb is not None and facts.disk_mb > sandbox.disk_mb:
        why = f"It wrote {facts.disk_mb:.0f} MB; {sandbox.disk_mb} MB are allowed."
        return Verdict(Act.BREAK, why, EndReason.DISK_FULL)
    return None


def _reset_overdue(sandbox: Sandbox, now: datetime, held: bool) -> Verdict | None:
    asked = sandbox.reset_requested_at
    if asked and not held and now - asked > STALE_AFTER:
        return Verdict(Act.RESEND, "its reset is not finished")
    return None


def _warning(sandbox: Sandbox, now: datetime) -> Verdict | None:
    soon = now + timedelta(minutes=settings.SANDBOX_WARNING_MINUTES)
    expiry, idle = sandbox.expires_at, sandbox.idle_expires_at
    if expiry and expiry <= soon:
        warned, reason, why = sandbox.warned_expiry_for, EndReason.EXPIRED, "its time is nearly up"
        return Verdict(Act.WARN, why, reason) if warned != expiry else None
    if idle and idle <= soon and sandbox.warned_idle_for != idle:
        return Verdict(Act.WARN, "it has been idle for long", EndReason.IDLE)
    return None


@dataclass
class Sweep:
    """One pass over everything that lives. `max_endings` (0: no bound) guards against a clock
    that jumped: so many sandboxes at most are ended for their age or idleness in one pass."""

    dry_run: bool = False
    max_endings: int = field(default_factory=lambda: settings.SANDBOX_REAPER_MAX_ENDINGS)
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def run(self) -> Sweep:
        """Sweep once. What could not be done is in `errors`; nothing is raised for it."""
        # Rows before facts: a sandbox that is made meanwhile is not mistaken for a lost one.
        rows = list(Sandbox.objects.live().select_related("owner").order_by("created_at"))
        observed = self._observe()
        for row in rows:
            facts = (observed or {}).get(row.public_id)
            self._guarded(row.public_id, self._handle, row, facts, observed is not None)
        for facts in (observed or {}).values():
            self._guarded(facts.id, self._handle_orphan, facts)
        if not self.dry_run:
            self._guarded("housekeeping", housekeeping.run, rows, observed)
            housekeeping.beat("; ".join(self.errors))
        return self

    def _guarded(self, what: str, act: object, *args: object) -> None:
        try:
            act(*args)  # type: ignore[operator]
        except RuntimeFailure as error:
            self.errors.append(f"{what}: {error}")
        except Exception as error:
            log.exception("sweep_stumbled", sandbox=what)
            self.errors.append(f"{what}: {type(error).__name__}: {error}")

    def _observe(self) -> Mapping[str, SandboxFacts] | None:
        try:
            return get_runtime().observe(sizes=True)
        except RuntimeFailure as error:
            self.errors.append(f"The engine can't be reached, so nothing is known of it: {error}")
            return None

    def _handle(self, row: Sandbox, facts: SandboxFacts | None, engine_answered: bool) -> None:
        if row.state == State.RUNNING and facts is not None:
            self._note(row, facts)
        now = clock.now()
        verdict = decide(row, facts, engine_answered, now)
        if verdict is None or not self._allowed(verdict):
            return
        self.counts[verdict.act] += 1
        self.lines.append(f"{row.public_id}: {verdict.act}: {verdict.why}")
        if not self.dry_run:
            self._carry_out(row, facts, engine_answered, verdict)

    def _allowed(self, verdict: Verdict) -> bool:
        if not verdict.by_the_clock or verdict.act is not Act.END:
            return True
        self.counts["due"] += 1
        if not self.max_endings or self.counts["due"] <= self.max_endings:
            return True
        if self.counts["due"] == self.max_endings + 1:
            self.errors.append(
                f"More than {self.max_endings} sandboxes are due at once. If the clock is right, "
                "sweep again with --max-endings 0."
            )
        return False

    def _note(self, row: Sandbox, facts: SandboxFacts) -> None:
        """Traffic is activity; published ports may have changed with a restart of the engine."""
        values: dict[str, object] = {}
        if facts.traffic_bytes is not None:
            moved = facts.traffic_bytes - row.traffic_bytes
            if moved >= TRAFFIC_NOISE_BYTES:
                values |= {"last_activity_at": clock.now()}
            if moved < 0 or moved >= TRAFFIC_NOISE_BYTES:
                values |= {"traffic_bytes": facts.traffic_bytes}
        if facts.alive and addresses(facts) != row.addresses:
            values |= {"addresses": addresses(facts)}
        for name, value in values.items():
            setattr(row, name, value)
        if values and not self.dry_run:
            Sandbox.objects.running().filter(pk=row.pk).update(**values)

    def _carry_out(
        self, row: Sandbox, facts: SandboxFacts | None, engine_answered: bool, verdict: Verdict
    ) -> None:
        match verdict.act:
            case Act.END:
                with transaction.atomic():
                    # Read again under the lock: who extended in time keeps the sandbox.
                    latest = Sandbox.objects.select_for_update().get(pk=row.pk)
                    again = decide(latest, facts, engine_answered, clock.now())
                    if again is None or again.act is not Act.END or again.reason is None:
                        return
                    lifecycle.end(latest, again.reason, again.why, expected=[State.RUNNING])
                self._tear_down(latest)
            case Act.BREAK:
                assert verdict.reason
                provisioning.fail(
                    row, verdict.reason, verdict.why, verdict.service, verdict.exit_code
                )
            case Act.TEAR_DOWN:
                self._tear_down(row)
            case Act.WARN:
                assert verdict.reason
                housekeeping.warn(row, verdict.reason)
            case Act.RESEND:
                resend = tasks.reset if row.state == State.RUNNING else tasks.provision
                tasks.enqueue(resend, row.public_id)

    def _tear_down(self, row: Sandbox) -> None:
        if not provisioning.tear_down(row):
            row.refresh_from_db()
            if row.removal_error and row.state == State.DESTROYING:
                self.errors.append(f"{row.public_id} could not be removed: {row.removal_error}")

    def _handle_orphan(self, facts: SandboxFacts) -> None:
        """Objects that bear our labels and belong to no living row."""
        age = clock.now() - facts.created_at
        if age < timedelta(seconds=settings.SANDBOX_ORPHAN_GRACE_SECONDS):
            return
        if Sandbox.objects.live().filter(public_id=facts.id).exists():
            return
        self.counts["orphan"] += 1
        self.lines.append(f"{facts.id}: orphan: no sandbox of this portal needs it")
        if not self.dry_run:
            get_runtime().destroy(facts.id)
