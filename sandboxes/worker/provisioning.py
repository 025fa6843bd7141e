"""Provision sandboxes in a worker.

Each function is safe to repeat after the worker was killed at any point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from django.db import transaction

from sandboxes.blueprints import BlueprintChanged, BlueprintNotFound, addresses, for_sandbox
from sandboxes.blueprints.parameters import variable_texts
from sandboxes.core import journal, launch_queue, leases, lifecycle, placement, ports
from sandboxes.core.fleet import Fleet
from sandboxes.core.reaper_policy import PROVISION_DEADLINE
from sandboxes.lib import clock
from sandboxes.metrics import outcomes
from sandboxes.models import EndReason, EventKind, LaunchLock, Sandbox, SavePoint
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import (
    CapacityExhausted,
    EngineUnreachable,
    PortTaken,
    Report,
    RuntimeFailure,
    SandboxFacts,
    SandboxSpec,
    get_runtime,
)
from sandboxes.worker.progress import LeaseLost, Progress
from sandboxes.worker.teardown import (
    RETRY,
    clean_up_after_lost_lease,
    fail_with_error,
    tear_down,
)

Result = TypeVar("Result")


def process_queue() -> None:
    """Provision waiting launches one after another, as far as the concurrency limit allows."""
    while sandbox := launch_queue.claim_next_launch(config.SANDBOX_MAX_CONCURRENT_LAUNCHES):
        _provision(sandbox)


def provision(sandbox: Sandbox) -> None:
    """Provision this sandbox unless another worker is processing it."""
    if lifecycle.start_provisioning(sandbox):
        _provision(sandbox)


def _provision(sandbox: Sandbox) -> None:
    """Create the sandbox and mark it as running, or end it with the reason of the failure."""
    progress = Progress(sandbox)
    try:
        if sandbox.engine.away_since:
            _place_elsewhere(sandbox, "Its machine doesn't respond.")
        facts = create_on_engine(sandbox, progress.report)
        progress.close("done", clock.now())
        progress.save(clock.now())
        if not lifecycle.mark_ready(sandbox, addresses(facts), facts.traffic_bytes or 0):
            raise LeaseLost
    except LeaseLost:
        clean_up_after_lost_lease(sandbox)
    except EngineUnreachable as error:
        if _place_elsewhere(sandbox, str(error)):
            _provision(sandbox)
        else:
            _requeue(sandbox, error)
    except (RuntimeFailure, BlueprintNotFound) as error:
        progress.close("failed", clock.now())
        leases.renew_lease(sandbox, steps=progress.steps)
        fail_with_error(sandbox, EndReason.PROVISION_FAILED, error)


def create_on_engine(sandbox: Sandbox, report: Report) -> SandboxFacts:
    """Create the missing objects on the engine. Raise RuntimeFailure or BlueprintNotFound."""
    time_limit = float(config.SANDBOX_PROVISION_TIMEOUT_SECONDS)
    runtime = get_runtime(sandbox.engine.connection)
    while True:
        try:
            return with_free_ports(
                sandbox,
                lambda spec: runtime.create(spec, report, time_limit),
                sandbox.launched_from,
            )
        except CapacityExhausted:
            if sandbox.is_for_pool or not _evict_pooled_sandbox(sandbox.engine_name):
                raise


def specification(sandbox: Sandbox, save_point: SavePoint | None = None) -> SandboxSpec:
    """Return the sandbox's specification, and reserve the ports that it lacks.

    With a save point, new services start with its data.

    Raises BlueprintNotFound, BlueprintChanged, CapacityExhausted.
    """
    variables = {
        **variable_texts(sandbox.parameters),
        **sandbox.secrets,
        "SANDBOX_ID": sandbox.public_id,
        "SANDBOX_LAUNCHED_AT": _provisioned_at(sandbox),
    }
    if sandbox.stellar_public_key:
        variables["SANDBOX_STELLAR_PUBLIC_KEY"] = sandbox.stellar_public_key
    blueprint = for_sandbox(sandbox)
    try:
        data = save_point.public_id if save_point else ""
        spec = blueprint.spec(sandbox.public_id, variables, sandbox.disk_mb, data)
    except KeyError as error:
        raise BlueprintChanged(
            f"The blueprint has changed since the launch, and needs {error.args[0]} now."
        ) from error
    return replace(spec, host_ports=ports.reserve(sandbox, blueprint.published_ports))


def with_free_ports(
    sandbox: Sandbox,
    call: Callable[[SandboxSpec], Result],
    save_point: SavePoint | None = None,
) -> Result:
    """Call with the sandbox's specification, again with other ports where a program uses some.

    Raises RuntimeFailure, BlueprintNotFound.
    """
    spec = specification(sandbox, save_point)
    published = {each.name: each.ports for each in spec.services}
    for _ in range(ports.MAX_ATTEMPTS):
        try:
            return call(spec)
        except PortTaken as error:
            taken = ports.replace(sandbox, error.service, published)
            spec = replace(spec, host_ports=taken)
    return call(spec)


def _provisioned_at(sandbox: Sandbox) -> str:
    """Return the time that dates in the seed data refer to; a claim doesn't change it."""
    if sandbox.from_pool and sandbox.steps:
        return str(sandbox.steps[0]["started_at"])
    return sandbox.created_at.isoformat()


def _evict_pooled_sandbox(engine: str) -> bool:
    """Destroy the oldest pooled sandbox of the engine to free capacity for a launch.

    Return False if the pool is empty or the removal has to be retried.
    """
    for row in Sandbox.objects.pooled().filter(engine=engine).order_by("created_at"):
        if lifecycle.begin_destroy(
            row, EndReason.RETIRED, "Removed to free capacity for a launch."
        ):
            return tear_down(row)
    return False


@transaction.atomic
def _place_elsewhere(sandbox: Sandbox, problem: str) -> bool:
    """Place a launch again whose engine doesn't answer; return whether another one takes it.

    What the engine has created by then is removed as orphaned when it is back.
    """
    LaunchLock.acquire()
    fleet = Fleet.read()
    if fleet.is_single:
        return False
    fleet.record_silence(fleet.engine_of(sandbox))
    if sandbox.launched_from_id:
        return False  # Its data is on this engine only.
    engine = placement.another_engine(fleet, sandbox, for_sandbox(sandbox))
    if engine is None or not leases.renew_lease(sandbox, engine=engine, steps=[]):
        return False
    sandbox.engine, sandbox.steps = engine, []
    ports.release(sandbox)
    placement.record_use(fleet, sandbox)
    journal.record(sandbox, EventKind.DELAYED, f"{problem} Launching on another machine.")
    return True


def _requeue(sandbox: Sandbox, error: EngineUnreachable) -> None:
    """Retry when the engine is reachable again, until the deadline for provisioning."""
    outcomes.record_engine_error("create")
    now = clock.now()
    if clock.is_older(sandbox.created_at, now, PROVISION_DEADLINE):
        fail_with_error(sandbox, EndReason.PROVISION_FAILED, error)
        return
    with transaction.atomic():
        if leases.renew_lease(sandbox, until=now + RETRY.first):
            journal.record(sandbox, EventKind.DELAYED, f"{error} Retrying.")
