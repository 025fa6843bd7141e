"""The worker's side: make a sandbox, take it down.

Each function may be run again after the process was killed anywhere in it.
"""

from __future__ import annotations

from sandboxes.blueprints import BlueprintNotFound, addresses, load
from sandboxes.core import (
    journal as core_journal,
)
from sandboxes.core import (
    launch_queue,
    leases,
    lifecycle,
)
from sandboxes.core.reaper_policy import GIVE_UP_AFTER
from sandboxes.lib import clock
from sandboxes.metrics import outcomes
from sandboxes.models import EndReason, Sandbox
from sandboxes.models.runtime_settings import settings
from sandboxes.runtime import (
    EngineUnreachable,
    NoRoom,
    Report,
    RuntimeFailure,
    SandboxFacts,
    get_runtime,
)
from sandboxes.worker.progress import Progress, Superseded
from sandboxes.worker.teardown import RETRY_DELAY, clear_up, give_up, tear_down


def work_off() -> None:
    """Make what people wait for, one after the other, as long as there is a turn to take."""
    while sandbox := launch_queue.take_next(settings.SANDBOX_MAX_CONCURRENT_LAUNCHES):
        _make(sandbox)


def provision(sandbox: Sandbox) -> None:
    """Make this very sandbox, unless another worker is at it."""
    if lifecycle.take(sandbox):
        _make(sandbox)


def _make(sandbox: Sandbox) -> None:
    """Have it made and set it running, or end it with the reason why that failed."""
    progress = Progress(sandbox)
    try:
        facts = create(sandbox, progress.report)
        progress.close("done", clock.now())
        progress.save(clock.now())
        if not lifecycle.run(sandbox, addresses(facts), facts.traffic_bytes or 0):
            raise Superseded
    except Superseded:
        clear_up(sandbox)
    except EngineUnreachable as error:
        _put_back(sandbox, error)
    except (RuntimeFailure, BlueprintNotFound) as error:
        progress.close("failed", clock.now())
        leases.renew(sandbox, steps=progress.steps)
        give_up(sandbox, EndReason.PROVISION_FAILED, error)


def create(sandbox: Sandbox, report: Report) -> SandboxFacts:
    """Have the runtime make what is missing of it. Raises RuntimeFailure, BlueprintNotFound."""
    variables = sandbox.secrets | {
        "SANDBOX_ID": sandbox.public_id,
        "SANDBOX_LAUNCHED_AT": sandbox.created_at.isoformat(),
        "SANDBOX_STELLAR_PUBLIC_KEY": sandbox.stellar_public_key,
    }
    spec = load(sandbox.blueprint).spec(sandbox.public_id, variables, sandbox.disk_mb)
    time_limit = float(settings.SANDBOX_PROVISION_TIMEOUT_SECONDS)
    while True:
        try:
            return get_runtime().create(spec, report, time_limit)
        except NoRoom:
            if sandbox.is_stock or not _empty_a_place():
                raise


def _empty_a_place() -> bool:
    """The pool gives way to people. False: there is nothing in it that could."""
    for row in Sandbox.objects.pooled().order_by("created_at"):
        if lifecycle.end(row, EndReason.RETIRED, "Somebody needed its place."):
            return tear_down(row)
    return False


def _put_back(sandbox: Sandbox, error: EngineUnreachable) -> None:
    """The engine is away: try again when it is back, but not for ever."""
    outcomes.note_engine_error("create")
    now = clock.now()
    if now - sandbox.created_at > GIVE_UP_AFTER:
        give_up(sandbox, EndReason.PROVISION_FAILED, error)
    elif leases.renew(sandbox, until=now + RETRY_DELAY):
        core_journal.record(sandbox, "delayed", f"{error} It is tried again.")
