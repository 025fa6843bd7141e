"""Reset the data of running sandboxes: to the seed, or to a save point.

Safe to repeat after the worker was killed at any point.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from sandboxes.blueprints import BlueprintNotFound, addresses, for_sandbox
from sandboxes.core import journal, leases
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock, redaction
from sandboxes.models import EventKind, Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import EngineUnreachable, RuntimeFailure, get_runtime, without_rekey
from sandboxes.worker import progress, provisioning, teardown

log = structlog.get_logger(__name__)

RESET_TIMEOUT_SECONDS = 20.0
RECREATED = "Data reset to seed; all services were recreated."


def reset(sandbox: Sandbox) -> None:
    """Restore the seed data. Endpoints and credentials stay the same.

    If the blueprint has no command for it, or the command fails, for example because of changes
    that the owner made, the sandbox's services are recreated. If that fails, too, nothing has
    changed. Their data is restored from a save point in the same way.
    """
    if sandbox.reset_requested_at is None or not leases.acquire_lease(sandbox, [State.RUNNING]):
        return
    values: dict[str, Any] = {}
    restored = sandbox.reset_to
    failure_kind = EventKind.RESTORE_FAILED if restored else EventKind.RESET_FAILED
    failure = "Couldn't restore the data: {}" if restored else "Couldn't reset the data: {}"
    try:
        kind, message = EventKind.RESET, "Data reset to seed."
        if restored:
            kind, message = EventKind.RESTORED, f"Data restored to the save point “{restored}”."
            values = _recreate_services(sandbox)
        elif not _run_reset_command(sandbox):
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
        kind, message = failure_kind, failure.format(text)
    except (BlueprintNotFound, DecryptionError) as error:
        kind, message = failure_kind, failure.format(error)
    with transaction.atomic():
        # Otherwise it was ended, or another worker took over; the journal has the reason.
        values |= {"reset_requested_at": None, "reset_to": None}
        if leases.release_lease(sandbox, State.RUNNING, **values):
            data: dict[str, Any] = {"save_point": restored.public_id} if restored else {}
            journal.record(sandbox, kind, message, **data)


def _run_reset_command(sandbox: Sandbox) -> bool:
    """Run the blueprint's command, and return whether there is one and it succeeded.

    Raises EngineUnreachable, BlueprintNotFound, LeaseLost.
    """
    by_command = for_sandbox(sandbox).reset
    if by_command is None or not (command := by_command.command_for(settings.SANDBOX_RUNTIME)):
        return False
    try:
        code, output = get_runtime(sandbox.engine.connection).execute(
            sandbox.public_id, by_command.service, command, RESET_TIMEOUT_SECONDS
        )
    except EngineUnreachable:
        raise
    except RuntimeFailure as error:
        code, output = 1, str(error)
    if code != 0:
        progress.renew_or_abort(sandbox)
        tail = redaction.redact(output, sandbox.secrets)[-500:]
        log.warning("reset_command_failed", sandbox=sandbox.public_id, code=code, output=tail)
    return code == 0


def _recreate_services(sandbox: Sandbox) -> dict[str, Any]:
    """Recreate the services, and return the values to store in the row.

    Raises RuntimeFailure, BlueprintNotFound, LeaseLost.
    """
    facts = get_runtime(sandbox.engine.connection).recreate(
        # The data of a save point has the credentials of the sandbox that was saved.
        without_rekey(provisioning.specification(sandbox, sandbox.reset_to)),
        lambda _: progress.renew_or_abort(sandbox),
        float(config.SANDBOX_PROVISION_TIMEOUT_SECONDS),
    )
    return {"addresses": addresses(facts), "traffic_bytes": facts.traffic_bytes or 0}
