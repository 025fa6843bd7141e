"""The sweep that makes the engine and the database agree, and ends what is due.

`Sweep` carries the verdicts out one by one, so that one bad sandbox never stops the others. Sweeps
may overlap: every act behind a verdict is guarded.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import structlog
from django.db import transaction
from django.db.models import F

from sandboxes import queue
from sandboxes.core import lifecycle
from sandboxes.core.reaper_policy import (
    Act,
    Seen,
    Verdict,
    decide,
)
from sandboxes.lib import clock
from sandboxes.metrics import outcomes
from sandboxes.models import ENGINE_AWAY, EndReason, Sandbox, State
from sandboxes.models.runtime_settings import settings
from sandboxes.reaper import housekeeping
from sandboxes.reaper.observe import apply_facts, observation
from sandboxes.runtime import RuntimeFailure, SandboxFacts, get_runtime
from sandboxes.usage import sampling
from sandboxes.worker import tasks as worker_tasks
from sandboxes.worker import teardown

log = structlog.get_logger(__name__)


@dataclass
class Sweep:
    """One pass over everything that lives. `max_endings` (0: no bound) guards against a clock
    that jumped: so many sandboxes at most are ended for their age or idleness in one pass."""

    dry_run: bool = False
    max_endings: int = field(default_factory=lambda: settings.SANDBOX_SWEEP_MAX_EXPIRATIONS)
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    """What nobody needs and is there still: too young yet, or not to be removed."""
    due: int = 0

    def run(self) -> Sweep:
        """Sweep once. What could not be done is in `errors`; nothing is raised for it."""
        # Tasks that are sent take the name of the sweep along.
        with structlog.contextvars.bound_contextvars(sweep=uuid4().hex[:12]):
            self._run()
        return self

    def _run(self) -> None:
        began = time.monotonic()
        settings.refresh()
        # Rows before facts: a sandbox that is made meanwhile is not mistaken for a lost one.
        live = Sandbox.objects.live().select_related("owner")
        # What has been due for the longest is ended first.
        rows = list(live.order_by(F("expires_at").asc(nulls_last=True), "created_at", "id"))
        observed = self._observe()
        self._guarded("traffic", self._note, rows, observed or {})
        for row in rows:
            self._guarded(row.public_id, self._handle, row, observed)
        known = {row.public_id for row in rows}
        for facts in (observed or {}).values():
            if facts.id not in known:
                self._guarded(facts.id, self._handle_orphan, facts)
        if not self.dry_run:
            self._keep_house(rows, observed)
            took = time.monotonic() - began
            housekeeping.beat("; ".join(self.errors), took, self.orphans)
            log.info("swept", seconds=round(took, 3), acts=self.counts, errors=len(self.errors))

    def _keep_house(self, rows: list[Sandbox], observed: Mapping[str, SandboxFacts] | None) -> None:
        self._guarded("funding", housekeeping.fund_again)
        self._guarded("telling", housekeeping.tell_again)
        self._guarded("pruning", housekeeping.prune)
        self._guarded("pruning", outcomes.prune)
        if observed is not None:
            self._guarded("sampling", sampling.sample, rows, observed)
            self._guarded("engine", housekeeping.note_abilities)
            self._guarded("pool", housekeeping.request_pool_reconcile)
        self._guarded("tallies", outcomes.count_events)

    def _guarded(self, what: str, act: Callable[..., None], *args: object) -> None:
        try:
            act(*args)
        except RuntimeFailure as error:
            outcomes.note_engine_error("sweep")
            self.errors.append(f"{what}: {error}")
        except Exception as error:
            log.exception("sweep_stumbled", sandbox=what)
            self.errors.append(f"{what}: {type(error).__name__}: {error}")

    def _observe(self) -> Mapping[str, SandboxFacts] | None:
        try:
            return get_runtime().observe(sizes=True)
        except RuntimeFailure as error:
            outcomes.note_engine_error("observe")
            self.errors.append(f"{ENGINE_AWAY}, so nothing is known of it: {error}")
            return None

    def _handle(self, row: Sandbox, observed: Mapping[str, SandboxFacts] | None) -> None:
        seen = observation(row, observed)
        verdict = decide(row, seen, clock.now())
        if verdict is None:
            self._tell_of_trouble(row)
        elif self._allowed(verdict) and (self.dry_run or self._carry_out(row, seen, verdict)):
            self.counts[verdict.act] += 1
            self.lines.append(f"{row.public_id}: {verdict.act}: {verdict.why}")

    def _allowed(self, verdict: Verdict) -> bool:
        if not verdict.by_the_clock or not self.max_endings:
            return True
        self.due += 1
        if self.due == self.max_endings + 1:
            self.errors.append(
                f"More than {self.max_endings} sandboxes are due at once. If the clock is right, "
                "sweep again with --max-endings 0."
            )
        return self.due <= self.max_endings

    def _note(self, rows: list[Sandbox], observed: Mapping[str, SandboxFacts]) -> None:
        """Keep what was seen of them: in one statement for all in whom the same changed."""
        changed: dict[tuple[str, tuple[str, ...]], list[Sandbox]] = defaultdict(list)
        for row in rows:
            facts = observed.get(row.public_id)
            if facts and row.state in (State.RUNNING, State.POOLED):
                changed[row.state, apply_facts(row, facts)].append(row)
        for (state, columns), group in changed.items():
            if columns and not self.dry_run:
                # Not of those that were ended or handed out meanwhile.
                Sandbox.objects.filter(state=state).bulk_update(group, columns)

    def _carry_out(self, row: Sandbox, seen: Seen, verdict: Verdict) -> bool:
        """Whether it was done; a verdict that the row's present state overtook is not."""
        match verdict.act:
            case Act.END:
                return self._end(row, seen)
            case Act.BREAK:
                assert verdict.reason
                said = verdict.why, verdict.service, verdict.exit_code
                return teardown.fail(row, verdict.reason, *said)
            case Act.TEAR_DOWN:
                return self._tear_down(row)
            case Act.WARN:
                return housekeeping.warn(row, idle=verdict.reason == EndReason.IDLE)
            case Act.REVIVE:
                queue.enqueue(worker_tasks.restart, row.public_id)
            case Act.RESEND:
                resend = (
                    worker_tasks.reset if row.state == State.RUNNING else worker_tasks.provision
                )
                queue.enqueue(resend, row.public_id)
        return True

    def _end(self, row: Sandbox, seen: Seen) -> bool:
        with transaction.atomic():
            # Read again under the lock: who extended in time keeps the sandbox.
            latest = Sandbox.objects.select_for_update().get(pk=row.pk)
            again = decide(latest, seen, clock.now())
            if again is None or again.act is not Act.END or again.reason is None:
                return False
            lifecycle.end(latest, again.reason, again.why)
        if seen.engine_answered:
            self._tear_down(latest)
        return True

    def _tear_down(self, row: Sandbox) -> bool:
        done = teardown.tear_down(row)
        if not done:
            row.refresh_from_db()
            self._tell_of_trouble(row)
        return done

    def _tell_of_trouble(self, row: Sandbox) -> None:
        """A removal that waits for its next try is still not done."""
        if row.state == State.DESTROYING and row.removal_error:
            self.errors.append(f"{row.public_id} could not be removed: {row.removal_error}")

    def _handle_orphan(self, facts: SandboxFacts) -> None:
        """Objects that bear our labels and belong to no living row."""
        if Sandbox.objects.live().filter(public_id=facts.id).exists():
            return
        self.orphans.append(facts.id)
        age = clock.now() - facts.created_at
        if age < timedelta(seconds=settings.SANDBOX_ORPHAN_GRACE_SECONDS):
            return
        if not self.dry_run:
            get_runtime().destroy(facts.id)
        self.orphans.remove(facts.id)
        self.counts["orphan"] += 1
        self.lines.append(f"{facts.id}: orphan: no sandbox of this portal needs it")
