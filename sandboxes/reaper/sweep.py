"""The sweep: reconciles engine and database, and ends sandboxes that are due.

`Sweep` handles sandboxes one by one and isolates their errors from each other. Sweeps may overlap:
each action checks the state of the sandbox again.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from math import inf
from uuid import uuid4

import structlog
from django.db import transaction
from django.db.models import F

from sandboxes.core import disk_reserve, lifecycle
from sandboxes.core.fleet import Fleet
from sandboxes.core.reaper_policy import (
    Action,
    Decision,
    Observation,
    decide,
)
from sandboxes.lib import clock, queue
from sandboxes.metrics import outcomes
from sandboxes.models import EndReason, Engine, Sandbox, SandboxWarning, State
from sandboxes.models.runtime_settings import config
from sandboxes.notifications import sandbox_warnings
from sandboxes.reaper import housekeeping, outages, save_points
from sandboxes.reaper.observe import (
    NO_TRAFFIC,
    FleetFacts,
    apply_facts,
    facts_about,
    observe_engines,
    observe_row,
    portal_traffic,
    probe,
)
from sandboxes.runtime import (
    ProbeResult,
    RuntimeFailure,
    SandboxFacts,
    call_engines,
    get_runtime,
)
from sandboxes.usage import sampling
from sandboxes.worker import tasks as worker_tasks
from sandboxes.worker import teardown

ORPHAN_SECONDS = 5.0
"""Time to remove orphans of one of several engines."""
OBSERVED_BY_EACH_SWEEP = {"traffic_bytes", "last_activity_at"}
"""Columns that change with each probe and each use."""

log = structlog.get_logger(__name__)


@dataclass
class Sweep:
    """One pass over all sandboxes that haven't ended.

    `max_expirations` limits how many sandboxes one sweep ends for their age or idleness, in case
    the clock has jumped; 0 is unlimited.
    """

    dry_run: bool = False
    max_expirations: int = field(default_factory=lambda: config.SANDBOX_SWEEP_MAX_EXPIRATIONS)
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    """Orphans still on the engine: not old enough yet, or their removal failed."""
    due: int = 0
    failed_removals: int = 0
    warned: dict[int, set[tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(set))
    """Deadlines that owners were warned of, by sandbox."""
    probes: Mapping[str, ProbeResult] = field(default_factory=dict)
    """What probes of the published ports found, by sandbox id."""
    removals: dict[str, tuple[Sandbox, Decision | None]] = field(default_factory=dict)
    """Sandboxes to remove from the engine, by id, each with a decision that isn't counted yet."""

    @property
    def limit_exceeded(self) -> bool:
        return 0 < self.max_expirations < self.due

    def run(self) -> Sweep:
        """Sweep once. Failures are collected in `errors` instead of raised."""
        # Tasks that this sweep sends log its id.
        with structlog.contextvars.bound_contextvars(sweep=uuid4().hex[:12]):
            self._run()
        return self

    def _run(self) -> None:
        started_at = time.monotonic()
        disk_reserve.release_if_full()
        config.refresh()
        # Read the rows before the engine, so that a new sandbox isn't mistaken for a lost one.
        live = Sandbox.objects.live().select_related("owner", "engine")
        # End the sandboxes first that have been due for the longest.
        rows = list(live.order_by(F("expires_at").asc(nulls_last=True), "created_at", "id"))
        fleet = Fleet.read()
        observed = self._observe(fleet)
        if not self.dry_run:
            self._isolate_errors("outages", outages.handle, rows, fleet, observed)
        self._isolate_errors("probes", self._probe, rows, observed)
        self._isolate_errors("warnings", self._read_warnings)
        self._isolate_errors("traffic", self._record_observations, rows, observed)
        for row in rows:
            self._isolate_errors(row.public_id, self._handle, row, observed)
        self._isolate_errors("removals", self._remove_all, not fleet.is_single)
        known = {(row.engine_id, row.public_id) for row in rows}
        for engine in fleet.engines:
            found = observed.get(engine.name, {}).values()
            unknown = [facts for facts in found if (engine.name, facts.id) not in known]
            self._handle_orphans(engine, unknown, inf if fleet.is_single else ORPHAN_SECONDS)
        if not self.dry_run:
            self._housekeeping(rows, observed, fleet)
            seconds = time.monotonic() - started_at
            housekeeping.record_heartbeat(
                self.errors,
                seconds,
                self.orphans,
                engine_reachable=bool(observed),
                expiration_limit_exceeded=self.limit_exceeded,
                failed_removals=self.failed_removals,
            )
            log.info(
                "swept", seconds=round(seconds, 3), actions=self.counts, errors=len(self.errors)
            )

    def _housekeeping(self, rows: list[Sandbox], observed: FleetFacts, fleet: Fleet) -> None:
        self._isolate_errors("funding", housekeeping.requeue_funding)
        self._isolate_errors("save points", save_points.requeue_saves)
        self._isolate_errors("save points", save_points.end_due)
        self._isolate_errors("notifications", housekeeping.requeue_notifications)
        self._isolate_errors("pruning", housekeeping.prune)
        self._isolate_errors("pruning", outcomes.prune)
        answered = [engine for engine in fleet.engines if engine.name in observed]
        away = [engine for engine in fleet.engines if engine.name not in observed]
        self._isolate_errors("engine", housekeeping.record_away, away)
        if answered:
            self._isolate_errors("sampling", self._sample, rows, observed)
            self._isolate_errors("save points", save_points.remove_leftovers, answered)
            disk_reserve.create()
            self._isolate_errors("engine", housekeeping.record_engines, answered)
            self._isolate_errors("pool", housekeeping.request_pool_reconcile, fleet)
        self._isolate_errors("outcomes", outcomes.aggregate_events)

    def _isolate_errors(self, name: str, step: Callable[..., None], *args: object) -> None:
        try:
            step(*args)
        except RuntimeFailure as error:
            outcomes.record_engine_error("sweep")
            self.errors.append(f"{name}: {error}")
        except Exception as error:
            log.exception("sweep_step_failed", sandbox=name)
            self.errors.append(f"{name}: {type(error).__name__}: {error}")

    def _read_warnings(self) -> None:
        """Read which deadlines the owners of running sandboxes were warned of."""
        rows = SandboxWarning.objects.filter(sandbox__state=State.RUNNING)
        for sandbox, kind, deadline in rows.values_list("sandbox", "deadline_kind", "deadline"):
            self.warned[sandbox].add((kind, deadline))

    def _observe(self, fleet: Fleet) -> FleetFacts:
        observed, failures = observe_engines(fleet.engines)
        for name, error in failures.items():
            outcomes.record_engine_error("observe")
            which = f"engine {name}" if len(fleet.engines) > 1 else "engine"
            self.errors.append(f"The {which} can't be reached, so its state is unknown: {error}")
        return observed

    def _probe(self, rows: list[Sandbox], observed: FleetFacts) -> None:
        # Nothing is saved in a dry run, so the traffic of its probes would count as activity.
        if not self.dry_run:
            self.probes, failures = probe(rows, observed)
            self._report_failures("probes", failures)

    def _sample(self, rows: list[Sandbox], observed: FleetFacts) -> None:
        facts = {row.public_id: found for row in rows if (found := facts_about(row, observed))}
        self._report_failures("sampling", sampling.sample(rows, facts))

    def _report_failures(self, step: str, failures: Mapping[str, RuntimeFailure]) -> None:
        for error in failures.values():
            outcomes.record_engine_error("sweep")
            self.errors.append(f"{step}: {error}")

    def _handle(self, row: Sandbox, observed: FleetFacts) -> None:
        observation = observe_row(row, observed, self.probes)
        observation = replace(observation, warned=self.warned[row.pk])
        decision = decide(row, observation, clock.now())
        if decision is None:
            self._report_removal_error(row)
        elif self._within_safety_limit(decision) and (
            self.dry_run or self._apply(row, observation, decision)
        ):
            self._count(row, decision)

    def _count(self, row: Sandbox, decision: Decision) -> None:
        self.counts[decision.action] += 1
        self.lines.append(f"{row.public_id}: {decision.action}: {decision.message}")

    def _within_safety_limit(self, decision: Decision) -> bool:
        if not decision.is_deadline or not self.max_expirations:
            return True
        self.due += 1
        if self.due == self.max_expirations + 1:
            self.errors.append(
                f"More than {self.max_expirations} sandboxes are due at once. If the clock is "
                "right, sweep again with --max-endings 0."
            )
        return self.due <= self.max_expirations

    def _record_observations(self, rows: list[Sandbox], observed: FleetFacts) -> None:
        """Save what changed, with one statement for each combination of state and fields."""
        portal = portal_traffic()
        changed: dict[tuple[str, tuple[str, ...]], list[Sandbox]] = defaultdict(list)
        for row in rows:
            facts = facts_about(row, observed)
            if facts and row.state in (State.RUNNING, State.POOLED):
                own = portal.get(row.pk, NO_TRAFFIC)
                fields = apply_facts(row, facts, self.probes.get(row.public_id), own)
                changed[row.state, fields].append(row)
        for (state, columns), group in changed.items():
            if not columns or self.dry_run:
                continue
            # Leave out sandboxes that were ended or claimed in the meantime.
            if OBSERVED_BY_EACH_SWEEP.issuperset(columns):
                Sandbox.objects.save_observed(group, state, columns)
            else:
                Sandbox.objects.filter(state=state).bulk_update(group, columns)

    def _apply(self, row: Sandbox, observation: Observation, decision: Decision) -> bool:
        """Return whether the action was performed; not if the state has changed since.

        Removals run together after all decisions; a retried removal is counted then.
        """
        match decision.action:
            case Action.EXPIRE:
                return self._expire(row, observation)
            case Action.FAIL:
                assert decision.reason
                details = decision.message, decision.service, decision.exit_code
                return teardown.fail(row, decision.reason, *details, remove=self._remove_later)
            case Action.DESTROY:
                self._remove_later(row, decision)
                return False
            case Action.WARN:
                return sandbox_warnings.warn(row, idle=decision.reason == EndReason.IDLE)
            case Action.RESTART | Action.REPAIR:
                running = Sandbox.objects.running().filter(pk=row.pk)
                running.exclude(problem=decision.message).update(problem=decision.message)
                queue.enqueue(worker_tasks.repair, row.public_id)
            case Action.VERIFY:
                queue.enqueue(worker_tasks.verify_claimed, row.public_id)
            case Action.REQUEUE:
                is_running = row.state == State.RUNNING
                task = worker_tasks.reset if is_running else worker_tasks.provision
                queue.enqueue(task, row.public_id)
        return True

    def _expire(self, row: Sandbox, observation: Observation) -> bool:
        with transaction.atomic():
            # Decide again under the lock: the owner may have extended the sandbox.
            latest = Sandbox.objects.select_for_update().get(pk=row.pk)
            decision = decide(latest, observation, clock.now())
            if decision is None or decision.action is not Action.EXPIRE or not decision.reason:
                return False
            lifecycle.begin_destroy(latest, decision.reason, decision.message)
        if observation.engine_answered:
            self._remove_later(latest)
        return True

    def _remove_later(self, row: Sandbox, decision: Decision | None = None) -> None:
        self.removals[row.public_id] = row, decision

    def _remove_all(self, several_engines: bool) -> None:
        rows = [row for row, _ in self.removals.values()]
        complete = teardown.tear_down_all(
            rows, self._report_unexpected_error, several_engines=several_engines
        )
        done = {row.public_id for row in complete}
        for row, decision in self.removals.values():
            if row.public_id not in done:
                row.refresh_from_db()
                self._report_removal_error(row)
            elif decision:
                self._count(row, decision)

    def _report_unexpected_error(self, row: Sandbox, error: Exception) -> None:
        log.error("sweep_step_failed", sandbox=row.public_id, exc_info=error)
        self.errors.append(f"{row.public_id}: {type(error).__name__}: {error}")

    def _report_removal_error(self, row: Sandbox) -> None:
        """Report the error of a removal that waits for its next attempt."""
        if row.state == State.DESTROYING and row.removal_error:
            self.failed_removals += 1
            self.errors.append(f"{row.public_id} could not be removed: {row.removal_error}")

    def _handle_orphans(self, engine: Engine, found: list[SandboxFacts], seconds: float) -> None:
        """Remove the orphans of one engine until the time is over; the next sweep continues."""
        until = time.monotonic() + seconds
        for facts in found:
            if time.monotonic() > until:
                self.errors.append(f"Some orphans of the engine {engine} wait for the next sweep.")
                return
            self._isolate_errors(facts.id, self._handle_orphan, engine, facts)

    def _handle_orphan(self, engine: Engine, facts: SandboxFacts) -> None:
        """Remove objects with our labels whose sandbox has ended, is unknown or elsewhere."""
        if Sandbox.objects.live().filter(public_id=facts.id, engine=engine).exists():
            return
        self.orphans.append(facts.id)
        grace = timedelta(seconds=config.SANDBOX_ORPHAN_GRACE_SECONDS)
        if not clock.is_older(facts.created_at, clock.now(), grace):
            return
        if not self.dry_run:
            destroy = partial(get_runtime(engine.connection).destroy, facts.id)
            for error in call_engines({engine.name: destroy}, ORPHAN_SECONDS)[1].values():
                raise error
        self.orphans.remove(facts.id)
        self.counts["orphan"] += 1
        self.lines.append(f"{facts.id}: orphan: no sandbox of this portal uses it")
