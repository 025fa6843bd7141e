"""The worker's side of a sandbox that runs: put its data back, bring back what stopped or broke.

Each function may be run again after the process was killed anywhere in it.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings

from sandboxes.blueprints import BlueprintNotFound, addresses, load
from sandboxes.core import journal, leases
from sandboxes.core.reaper_policy import Action, Observation, decide
from sandboxes.lib import clock, redaction
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.runtime import EngineUnreachable, RuntimeFailure, get_runtime
from sandboxes.worker import progress, provisioning, teardown

log = structlog.get_logger(__name__)

RESET_TIMEOUT_SECONDS = 20.0


def reset(sandbox: Sandbox) -> None:
    """Put the seed data back, with the same endpoints and credentials."""
    if sandbox.reset_requested_at is None or not leases.acquire_lease(sandbox, [State.RUNNING]):
        return
    try:
        wanted = load(sandbox.blueprint).reset
        command = wanted.command_for(settings.SANDBOX_RUNTIME)
        code, output = get_runtime().execute(
            sandbox.public_id, wanted.service, command, RESET_TIMEOUT_SECONDS
        )
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY_DELAY)
        log.warning("reset_delayed", sandbox=sandbox.public_id, error=str(error))
        return
    except (RuntimeFailure, BlueprintNotFound) as error:
        code, output = 1, str(error)
    if not leases.release_lease(sandbox, State.RUNNING, reset_requested_at=None):
        return  # It was ended or taken over meanwhile, and its journal says why.
    if code == 0:
        journal.record(sandbox, "reset", "The seed data was put back.")
    else:
        tail = redaction.redact(output, sandbox.secrets)[-500:]
        journal.record(sandbox, "reset_failed", f"The data could not be put back: {tail}")


def restart(sandbox: Sandbox) -> None:
    """Start again what stopped with the engine; what can't come back ends as lost."""
    if leases.acquire_lease(sandbox, [State.RUNNING]):
        _recreate(sandbox, "It was started again after the engine's restart.")


def verify_claimed(sandbox: Sandbox) -> None:
    """It has just left the pool: what broke while it waited there is made anew at once."""
    try:
        if not _is_broken(sandbox) or not leases.acquire_lease(sandbox, [State.RUNNING]):
            return
    except (RuntimeFailure, BlueprintNotFound) as error:
        log.warning("left_to_the_reaper", sandbox=sandbox.public_id, error=str(error))
        return
    _recreate(sandbox, "It broke while it waited in the pool, and was made anew.", anew=True)


def _is_broken(sandbox: Sandbox) -> bool:
    services = [service.name for service in load(sandbox.blueprint).services]
    facts = get_runtime().observe(sandbox.public_id).get(sandbox.public_id)
    decision = decide(sandbox, Observation(True, facts, services), clock.now())
    return decision is not None and decision.action in (Action.FAIL, Action.RESTART)


def _recreate(sandbox: Sandbox, message: str, *, anew: bool = False) -> None:
    """Make what is missing of it, or all of it; the caller holds it. What can't be ends as lost."""
    try:
        if anew:
            get_runtime().destroy(sandbox.public_id)
        facts = provisioning.create_on_engine(sandbox, lambda _: _renew_or_abort(sandbox))
        # The idle clock starts again: nobody could use it while it was down.
        _renew_or_abort(
            sandbox,
            addresses=addresses(facts),
            traffic_bytes=facts.traffic_bytes or 0,
            last_activity_at=clock.now_or_later(sandbox.last_activity_at),
        )
    except progress.LeaseLost:
        teardown.clean_up_after_lost_lease(sandbox)
    except EngineUnreachable as error:
        leases.release_lease(sandbox, State.RUNNING, clock.now() + teardown.RETRY_DELAY)
        log.warning("revival_delayed", sandbox=sandbox.public_id, error=str(error))
    except (RuntimeFailure, BlueprintNotFound) as error:
        teardown.fail_with_error(sandbox, EndReason.LOST, error)
    else:
        leases.release_lease(sandbox, State.RUNNING)
        journal.record(sandbox, "revived", message)


def _renew_or_abort(sandbox: Sandbox, **values: Any) -> None:
    if not leases.renew_lease(sandbox, **values):
        raise progress.LeaseLost
