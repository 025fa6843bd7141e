"""Verify running sandboxes, and restart, repair or recreate those that are broken.

Each function is safe to repeat after the worker was killed at any point.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F

from sandboxes.blueprints import BlueprintNotFound, addresses, for_sandbox
from sandboxes.core import journal, leases, lifecycle, ports
from sandboxes.core.reaper_policy import (
    NOT_READY_REMEDY,
    USED_BEFORE_RESTORE,
    Action,
    Decision,
    Observation,
    claim_mark,
    decide,
)
from sandboxes.lib import clock
from sandboxes.models import EndReason, EventKind, Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import (
    EngineUnreachable,
    ProbeResult,
    Repair,
    RuntimeFailure,
    SandboxFacts,
    get_runtime,
)
from sandboxes.worker import progress, provisioning, teardown

log = structlog.get_logger(__name__)

VERIFY_TIMEOUT_SECONDS = 2.5
LEFT_ALONE_FOR = timedelta(minutes=10)
"""Time before a sandbox that responds, but isn't ready, is examined again."""


def repair(sandbox: Sandbox) -> None:
    """Make a sandbox reachable again without losing its data, or end it with the reason.

    One with a service that has stopped since then is left to the next sweep, which ends it.
    """
    if not _has_crashed(sandbox) and leases.acquire_lease(sandbox, [State.RUNNING]):
        _repair(sandbox)


def verify_claimed(sandbox: Sandbox) -> None:
    """Verify a sandbox just claimed from the pool, and repair or recreate it if it broke there.

    Marks it on the engine as claimed. Ends it if it has another mark, or has returned to the pool:
    then the database was restored from a backup, and another owner knows its credentials.
    """
    try:
        if sandbox.state == State.POOLED or not _mark_claimed(sandbox):
            _end_used(sandbox)
            return
        decision = _find_fault(sandbox)
        if decision is None or not leases.acquire_lease(sandbox, [State.RUNNING]):
            return
    except (RuntimeFailure, BlueprintNotFound) as error:
        log.warning("left_to_the_reaper", sandbox=sandbox.public_id, error=str(error))
        return
    sandbox.problem = decision.message
    if decision.is_repairable:
        _repair(sandbox, replaceable=not _was_used(sandbox))
    elif not _was_used(sandbox):
        _recreate(sandbox)
    else:
        leases.release_lease(sandbox, State.RUNNING)


def _was_used(sandbox: Sandbox) -> bool:
    """Return whether the owner may have stored data in it since they claimed it."""
    return sandbox.last_activity_at != sandbox.started_at


def _mark_claimed(sandbox: Sandbox) -> bool:
    """Mark the claim on the engine; return False if the sandbox has the mark of another claim."""
    if sandbox.state != State.RUNNING:
        return True
    mark = claim_mark(sandbox)
    return get_runtime(sandbox.engine.connection).mark_claimed(sandbox.public_id, mark) == mark


def _end_used(sandbox: Sandbox) -> None:
    expected = [sandbox.state]
    if lifecycle.begin_destroy(sandbox, EndReason.RETIRED, USED_BEFORE_RESTORE, expected=expected):
        teardown.tear_down(sandbox)


def _find_fault(sandbox: Sandbox) -> Decision | None:
    """Return the decision about a sandbox that is broken now, else None. Raises RuntimeFailure."""
    runtime, blueprint = get_runtime(sandbox.engine.connection), for_sandbox(sandbox)
    facts = runtime.observe(sandbox.public_id).get(sandbox.public_id)
    probe = None
    if facts and facts.alive and facts.connected:
        checks = {sandbox.public_id: blueprint.ready}
        probe = runtime.probe([facts], checks, VERIFY_TIMEOUT_SECONDS)[sandbox.public_id]
        _exclude_from_activity(sandbox, facts, probe)
    observation = Observation(True, facts, blueprint.published_ports, probe)
    decision = decide(sandbox, observation, clock.now())
    broken = decision and (decision.action is Action.FAIL or decision.is_repairable)
    return decision if broken else None


def _has_crashed(sandbox: Sandbox) -> bool:
    """Return whether a service ended on its own, for example because it ran out of memory."""
    try:
        runtime = get_runtime(sandbox.engine.connection)
        facts = runtime.observe(sandbox.public_id).get(sandbox.public_id)
        published = for_sandbox(sandbox).published_ports
    except (RuntimeFailure, BlueprintNotFound):
        return False  # The repair fails for the same reason, and handles it.
    decision = decide(sandbox, Observation(True, facts, published), clock.now())
    return decision is not None and decision.reason in (EndReason.CRASHED, EndReason.OUT_OF_MEMORY)


def _exclude_from_activity(sandbox: Sandbox, facts: SandboxFacts, probe: ProbeResult) -> None:
    if probe.traffic_bytes is not None and facts.traffic_bytes is not None:
        own_bytes = max(0, probe.traffic_bytes - facts.traffic_bytes)
        Sandbox.objects.filter(pk=sandbox.pk).update(traffic_bytes=F("traffic_bytes") + own_bytes)


def _repair(sandbox: Sandbox, *, replaceable: bool = False) -> None:
    """Repair a sandbox whose lease the caller holds.

    If that fails, end it, or recreate it if it is `replaceable`: nothing is stored in it yet.
    """
    problem, addresses_before = sandbox.problem, sandbox.addresses
    ports_before = ports.reserved_ports(sandbox)
    try:
        done = provisioning.with_free_ports(
            sandbox,
            lambda spec: get_runtime(sandbox.engine.connection).repair(
                spec,
                lambda _: progress.renew_or_abort(sandbox),
                float(config.SANDBOX_PROVISION_TIMEOUT_SECONDS),
            ),
        )
        _save_facts(sandbox, done.facts, problem=done.problem, was_down=bool(done.actions))
    except progress.LeaseLost:
        teardown.clean_up_after_lost_lease(sandbox)
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY.first)
        log.warning("repair_delayed", sandbox=sandbox.public_id, error=str(error))
    except (RuntimeFailure, BlueprintNotFound) as error:
        log.warning("repair_failed", sandbox=sandbox.public_id, error=str(error))
        if replaceable:
            _recreate(sandbox)
        else:
            teardown.fail_with_error(sandbox, EndReason.LOST, error)
    else:
        repair_after = clock.now() + LEFT_ALONE_FOR if done.problem else None
        with transaction.atomic():
            leases.release_lease(sandbox, State.RUNNING, repair_after=repair_after)
            if done.actions:
                # A sweep has removed the addresses of a service without a network from the row.
                moved = _has_changed(addresses_before, addresses(done.facts)) or _has_changed(
                    ports_before, ports.reserved_ports(sandbox)
                )
                journal.record(sandbox, EventKind.REVIVED, _repair_message(problem, done, moved))
            if done.problem:
                journal.record(sandbox, EventKind.UNHEALTHY, f"{done.problem} {NOT_READY_REMEDY}")


def _has_changed(before: Mapping[Any, object], after: Mapping[Any, object]) -> bool:
    """Return whether a value from before is another one now."""
    return any(after.get(key, value) != value for key, value in before.items())


def _repair_message(problem: str, done: Repair, moved: bool) -> str:
    kept = "Data and credentials are unchanged"
    kept += ", but its addresses are new." if moved else "."
    return " ".join(filter(None, [problem, *done.actions, kept]))


def _recreate(sandbox: Sandbox) -> None:
    """Create a sandbox again with its credentials and seed data, or end it as lost.

    The caller holds the lease.
    """
    try:
        get_runtime(sandbox.engine.connection).destroy(sandbox.public_id)
        facts = provisioning.create_on_engine(sandbox, lambda _: progress.renew_or_abort(sandbox))
        _save_facts(sandbox, facts)
    except progress.LeaseLost:
        teardown.clean_up_after_lost_lease(sandbox)
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY.first)
        log.warning("recreation_delayed", sandbox=sandbox.public_id, error=str(error))
    except (RuntimeFailure, BlueprintNotFound) as error:
        teardown.fail_with_error(sandbox, EndReason.LOST, error)
    else:
        message = "Recreated with new seed data: it broke while waiting in the warm pool."
        with transaction.atomic():
            leases.release_lease(sandbox, State.RUNNING)
            journal.record(sandbox, EventKind.REVIVED, message)


def _save_facts(
    sandbox: Sandbox, facts: SandboxFacts, *, problem: str = "", was_down: bool = True
) -> None:
    values: dict[str, Any] = {"problem": problem, "addresses": addresses(facts)}
    values |= {"traffic_bytes": facts.traffic_bytes or 0}
    if was_down:
        # Restart the idle timer: the owner couldn't use the sandbox.
        values |= {"last_activity_at": clock.now_or_later(sandbox.last_activity_at)}
    progress.renew_or_abort(sandbox, **values)
