"""Maintain running sandboxes: reset their data, restart and recreate them.

Each function is safe to repeat after the worker was killed at any point.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import F

from sandboxes.blueprints import BlueprintNotFound, addresses, load
from sandboxes.core import journal, leases, lifecycle
from sandboxes.core.reaper_policy import (
    NOT_READY_REMEDY,
    USED_BEFORE_RESTORE,
    Action,
    Decision,
    Observation,
    claim_mark,
    decide,
)
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock, redaction
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

RESET_TIMEOUT_SECONDS = 20.0
VERIFY_TIMEOUT_SECONDS = 2.5
LEFT_ALONE_FOR = timedelta(minutes=10)
"""Time before a sandbox that responds, but isn't ready, is examined again."""
RECREATED = "Data reset to seed; all services were recreated."


def reset(sandbox: Sandbox) -> None:
    """Restore the seed data. Endpoints and credentials stay the same.

    If the blueprint's command fails, for example because of changes that the owner made, the
    sandbox's services are recreated. If that fails, too, nothing has changed.
    """
    if sandbox.reset_requested_at is None or not leases.acquire_lease(sandbox, [State.RUNNING]):
        return
    values: dict[str, Any] = {}
    try:
        kind, message = EventKind.RESET, "Data reset to seed."
        if not _run_reset_command(sandbox):
            message, values = RECREATED, _recreate_services(sandbox)
    except progress.LeaseLost:
        teardown.clean_up_after_lost_lease(sandbox)
        return
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY.first)
        log.warning("reset_delayed", sandbox=sandbox.public_id, error=str(error))
        return
    except RuntimeFailure as error:
        text = redaction.redact(str(error), sandbox.secrets)[-500:]
        kind, message = EventKind.RESET_FAILED, f"Couldn't reset the data: {text}"
    except (BlueprintNotFound, DecryptionError) as error:
        kind, message = EventKind.RESET_FAILED, f"Couldn't reset the data: {error}"
    # Otherwise it was ended, or another worker took over; the journal has the reason.
    if leases.release_lease(sandbox, State.RUNNING, reset_requested_at=None, **values):
        journal.record(sandbox, kind, message)


def _run_reset_command(sandbox: Sandbox) -> bool:
    """Run the blueprint's command, and return whether it succeeded.

    Raise EngineUnreachable, BlueprintNotFound, LeaseLost.
    """
    reset_spec = load(sandbox.blueprint).reset
    command = reset_spec.command_for(settings.SANDBOX_RUNTIME)
    try:
        code, output = get_runtime().execute(
            sandbox.public_id, reset_spec.service, command, RESET_TIMEOUT_SECONDS
        )
    except EngineUnreachable:
        raise
    except RuntimeFailure as error:
        code, output = 1, str(error)
    if code != 0:
        _renew_or_abort(sandbox)
        tail = redaction.redact(output, sandbox.secrets)[-500:]
        log.warning("reset_command_failed", sandbox=sandbox.public_id, code=code, output=tail)
    return code == 0


def _recreate_services(sandbox: Sandbox) -> dict[str, Any]:
    """Recreate the services, and return the values to store in the row.

    Raise RuntimeFailure, BlueprintNotFound, LeaseLost.
    """
    facts = get_runtime().recreate(
        provisioning.specification(sandbox),
        lambda _: _renew_or_abort(sandbox),
        float(config.SANDBOX_PROVISION_TIMEOUT_SECONDS),
    )
    return {"addresses": addresses(facts), "traffic_bytes": facts.traffic_bytes or 0}


def repair(sandbox: Sandbox) -> None:
    """Make a sandbox reachable again without losing its data, or end it with the reason."""
    if leases.acquire_lease(sandbox, [State.RUNNING]):
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
    return get_runtime().mark_claimed(sandbox.public_id, mark) == mark


def _end_used(sandbox: Sandbox) -> None:
    expected = [sandbox.state]
    if lifecycle.begin_destroy(sandbox, EndReason.RETIRED, USED_BEFORE_RESTORE, expected=expected):
        teardown.tear_down(sandbox)


def _find_fault(sandbox: Sandbox) -> Decision | None:
    """Return the decision about a sandbox that is broken now, else None. Raise RuntimeFailure."""
    runtime, blueprint = get_runtime(), load(sandbox.blueprint)
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


def _exclude_from_activity(sandbox: Sandbox, facts: SandboxFacts, probe: ProbeResult) -> None:
    if probe.traffic_bytes is not None and facts.traffic_bytes is not None:
        own_bytes = max(0, probe.traffic_bytes - facts.traffic_bytes)
        Sandbox.objects.filter(pk=sandbox.pk).update(traffic_bytes=F("traffic_bytes") + own_bytes)


def _repair(sandbox: Sandbox, *, replaceable: bool = False) -> None:
    """Repair a sandbox whose lease the caller holds.

    If that fails, end it, or recreate it if it is `replaceable`: nothing is stored in it yet.
    """
    problem, addresses_before = sandbox.problem, sandbox.addresses
    try:
        done = get_runtime().repair(
            provisioning.specification(sandbox),
            lambda _: _renew_or_abort(sandbox),
            float(config.SANDBOX_PROVISION_TIMEOUT_SECONDS),
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
        leases.release_lease(sandbox, State.RUNNING, repair_after=repair_after)
        if done.actions:
            moved = addresses(done.facts) != addresses_before
            journal.record(sandbox, EventKind.REVIVED, _repair_message(problem, done, moved))
        if done.problem:
            journal.record(sandbox, EventKind.UNHEALTHY, f"{done.problem} {NOT_READY_REMEDY}")


def _repair_message(problem: str, done: Repair, moved: bool) -> str:
    kept = "Data and credentials are unchanged"
    kept += ", but its addresses are new." if moved else "."
    return " ".join(filter(None, [problem, *done.actions, kept]))


def _recreate(sandbox: Sandbox) -> None:
    """Create a sandbox again with its credentials and seed data, or end it as lost.

    The caller holds the lease.
    """
    try:
        get_runtime().destroy(sandbox.public_id)
        facts = provisioning.create_on_engine(sandbox, lambda _: _renew_or_abort(sandbox))
        _save_facts(sandbox, facts)
    except progress.LeaseLost:
        teardown.clean_up_after_lost_lease(sandbox)
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY.first)
        log.warning("recreation_delayed", sandbox=sandbox.public_id, error=str(error))
    except (RuntimeFailure, BlueprintNotFound) as error:
        teardown.fail_with_error(sandbox, EndReason.LOST, error)
    else:
        leases.release_lease(sandbox, State.RUNNING)
        message = "Recreated with new seed data: it broke while waiting in the warm pool."
        journal.record(sandbox, EventKind.REVIVED, message)


def _save_facts(
    sandbox: Sandbox, facts: SandboxFacts, *, problem: str = "", was_down: bool = True
) -> None:
    values: dict[str, Any] = {"problem": problem, "addresses": addresses(facts)}
    values |= {"traffic_bytes": facts.traffic_bytes or 0}
    if was_down:
        # Restart the idle timer: the owner couldn't use the sandbox.
        values |= {"last_activity_at": clock.now_or_later(sandbox.last_activity_at)}
    _renew_or_abort(sandbox, **values)


def _renew_or_abort(sandbox: Sandbox, **values: Any) -> None:
    if not leases.renew_lease(sandbox, **values):
        raise progress.LeaseLost
