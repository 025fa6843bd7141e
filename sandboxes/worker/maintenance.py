"""Maintain running sandboxes: reset their data, restart and recreate them.

Each function is safe to repeat after the worker was killed at any point.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings

from sandboxes.blueprints import BlueprintNotFound, addresses, load
from sandboxes.core import journal, leases
from sandboxes.core.reaper_policy import Action, Observation, decide
from sandboxes.lib import clock, redaction
from sandboxes.models import EndReason, EventKind, Sandbox, State
from sandboxes.runtime import EngineUnreachable, RuntimeFailure, get_runtime
from sandboxes.worker import progress, provisioning, teardown

log = structlog.get_logger(__name__)

RESET_TIMEOUT_SECONDS = 20.0


def reset(sandbox: Sandbox) -> None:
    """Restore the seed data. Endpoints and credentials stay the same."""
    if sandbox.reset_requested_at is None or not leases.acquire_lease(sandbox, [State.RUNNING]):
        return
    try:
        reset_spec = load(sandbox.blueprint).reset
        command = reset_spec.command_for(settings.SANDBOX_RUNTIME)
        code, output = get_runtime().execute(
            sandbox.public_id, reset_spec.service, command, RESET_TIMEOUT_SECONDS
        )
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY.first)
        log.warning("reset_delayed", sandbox=sandbox.public_id, error=str(error))
        return
    except (RuntimeFailure, BlueprintNotFound) as error:
        code, output = 1, str(error)
    if not leases.release_lease(sandbox, State.RUNNING, reset_requested_at=None):
        return  # It was ended, or another worker took over; the journal has the reason.
    if code == 0:
        journal.record(sandbox, EventKind.RESET, "Data reset to seed.")
    else:
        tail = redaction.redact(output, sandbox.secrets)[-500:]
        journal.record(sandbox, EventKind.RESET_FAILED, f"Couldn't reset the data: {tail}")


def restart(sandbox: Sandbox) -> None:
    """Restart a sandbox that stopped with its engine, or end it as lost."""
    if leases.acquire_lease(sandbox, [State.RUNNING]):
        _recreate(sandbox, "Restarted after an engine restart.")


def verify_claimed(sandbox: Sandbox) -> None:
    """Verify a sandbox just claimed from the pool and recreate it if it broke while waiting."""
    try:
        if not _is_broken(sandbox) or not leases.acquire_lease(sandbox, [State.RUNNING]):
            return
    except (RuntimeFailure, BlueprintNotFound) as error:
        log.warning("left_to_the_reaper", sandbox=sandbox.public_id, error=str(error))
        return
    _recreate(sandbox, "Recreated: it broke while waiting in the warm pool.", from_scratch=True)


def _is_broken(sandbox: Sandbox) -> bool:
    services = [service.name for service in load(sandbox.blueprint).services]
    facts = get_runtime().observe(sandbox.public_id).get(sandbox.public_id)
    decision = decide(sandbox, Observation(True, facts, services), clock.now())
    return decision is not None and decision.action in (Action.FAIL, Action.RESTART)


def _recreate(sandbox: Sandbox, message: str, *, from_scratch: bool = False) -> None:
    """Create the missing services of a sandbox whose lease the caller holds, or end it as lost.

    `from_scratch` removes its remains first.
    """
    try:
        if from_scratch:
            get_runtime().destroy(sandbox.public_id)
        facts = provisioning.create_on_engine(sandbox, lambda _: _renew_or_abort(sandbox))
        # Restart the idle timer: the owner couldn't use the sandbox while it was down.
        _renew_or_abort(
            sandbox,
            addresses=addresses(facts),
            traffic_bytes=facts.traffic_bytes or 0,
            last_activity_at=clock.now_or_later(sandbox.last_activity_at),
        )
    except progress.LeaseLost:
        teardown.clean_up_after_lost_lease(sandbox)
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY.first)
        log.warning("restart_delayed", sandbox=sandbox.public_id, error=str(error))
    except (RuntimeFailure, BlueprintNotFound) as error:
        teardown.fail_with_error(sandbox, EndReason.LOST, error)
    else:
        leases.release_lease(sandbox, State.RUNNING)
        journal.record(sandbox, EventKind.REVIVED, message)


def _renew_or_abort(sandbox: Sandbox, **values: Any) -> None:
    if not leases.renew_lease(sandbox, **values):
        raise progress.LeaseLost
