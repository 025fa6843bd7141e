"""Operations of the portal, each run in a process of its own, which may be killed on the way.

The processes are forked from one that has imported this module, so they start without delay.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - after django.setup()
from django.db import connection, connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from sandboxes import actions  # noqa: E402
from sandboxes.core import lifecycle  # noqa: E402
from sandboxes.lib import clock  # noqa: E402
from sandboxes.models import EndReason, Sandbox, State  # noqa: E402
from sandboxes.pool import reconcile  # noqa: E402
from sandboxes.pool import tasks as pool_tasks  # noqa: E402
from sandboxes.reaper.sweep import Sweep  # noqa: E402
from sandboxes.runtime import (  # noqa: E402
    EngineUnreachable,
    SandboxFacts,
    SandboxSpec,
    get_runtime,
)
from sandboxes.worker import provisioning, teardown  # noqa: E402
from sandboxes.worker import tasks as worker_tasks  # noqa: E402
from sandboxportal import celery_filesystem_broker  # noqa: E402
from sandboxportal.celery import app  # noqa: E402
from tests.chaos.fault_schedule import MESSAGE, STATEMENT  # noqa: E402
from tests.helpers.wait import wait_for  # noqa: E402

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CREATE_SECONDS = 60
"""Time for one sandbox of `create_unstarted`."""


@dataclass
class KillSwitch:
    """Kills this process before or after its n-th database statement or message."""

    kind: str = ""
    number: int = 0
    after: bool = False

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def guard(self, kind: str, function: Callable[[], Any]) -> Any:
        self.counts[kind] += 1
        triggered = (kind, self.counts[kind]) == (self.kind, self.number)
        if triggered and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function()
        if triggered:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def install(self, stack: ExitStack) -> None:
        """Guard all database statements and messages of this process."""
        stack.enter_context(
            connection.execute_wrapper(
                lambda execute, *statement: self.guard(STATEMENT, lambda: execute(*statement))
            )
        )
        send = celery_filesystem_broker.Channel._put

        def guarded_send(*args: Any, **options: Any) -> None:
            self.guard(MESSAGE, lambda: send(*args, **options))

        celery_filesystem_broker.Channel._put = guarded_send  # type: ignore[method-assign]


def run(
    operation: str,
    arguments: list[Any],
    clock_offset: float,
    kill_switch: KillSwitch,
    pipe: Connection,
) -> None:
    """Wait for a message, run the operation, and send its result and the counts of points.

    The portal's clock is `clock_offset` seconds ahead.
    """
    clock.now = lambda: timezone.now() + timedelta(seconds=clock_offset)
    pipe.recv()
    with ExitStack() as stack:
        kill_switch.install(stack)
        result = OPERATIONS[operation](*arguments)
    connections.close_all()
    pipe.send((result, dict(kill_switch.counts)))


def find(public_id: str) -> Sandbox:
    return Sandbox.objects.get(public_id=public_id)


def launch() -> str:
    """Launch a sandbox for alice, as the web process does; return its id."""
    alice = User.objects.get(username="alice")
    return actions.launch_sandbox(alice, actions.LaunchRequest())[0].public_id


def request_destroy(public_id: str) -> None:
    actions.destroy(find(public_id), User.objects.get(username="alice"))


def request_reset(public_id: str) -> None:
    actions.reset(find(public_id), User.objects.get(username="alice"))


def process_queue() -> int:
    """Process all messages in the queue, as a worker does; return how many there were."""
    processed = 0
    with app.connection_for_read() as broker:
        queue = broker.SimpleQueue("celery")
        while True:
            try:
                message = queue.get(block=False)
            except Empty:
                return processed
            message.ack()
            app.tasks[message.headers["task"]](*message.payload[0])
            processed += 1


def provision(public_id: str) -> None:
    """Process the message to provision a sandbox, as a worker does."""
    worker_tasks.provision(public_id)


def reset(public_id: str) -> None:
    worker_tasks.reset(public_id)


def destroy(public_id: str) -> None:
    worker_tasks.tear_down(public_id)


def create_unstarted(count: int) -> None:
    """Create sandboxes whose containers are never started.

    Removing them takes as many steps as usual, but creating them takes the engine less time. On a
    busy machine, the engine may miss a time limit; the sandbox is then provisioned again.
    """
    runtime: Any = get_runtime()

    def create(spec: SandboxSpec, *_: Any) -> SandboxFacts:
        runtime._creator.create_containers(spec)
        return SandboxFacts(spec.id, {}, clock.now())

    runtime.create = create
    for _ in range(count):
        wait_for(partial(_is_running_after_attempt, launch()), "a sandbox runs", CREATE_SECONDS, 1)


def _is_running_after_attempt(public_id: str) -> bool:
    """Provision the sandbox, unless its next attempt isn't due yet."""
    provisioning.provision(find(public_id))
    return find(public_id).state == State.RUNNING


def fill_pool() -> None:
    """Record the versions of images, as a sweep does, and reconcile the pool, as a worker does."""
    with suppress(EngineUnreachable):
        reconcile.refresh_versions()
    pool_tasks.reconcile_pools()


def empty_pool() -> None:
    for row in Sandbox.objects.pooled():
        lifecycle.begin_destroy(row, EndReason.RETIRED, "The experiment is over.")
        teardown.tear_down(row)


def sweep() -> dict[str, Any]:
    swept = Sweep(max_expirations=0).run()
    return {"errors": swept.errors, "lines": swept.lines, "counts": dict(swept.counts)}


OPERATIONS: dict[str, Callable[..., Any]] = {
    operation.__name__: operation
    for operation in (
        create_unstarted,
        destroy,
        empty_pool,
        fill_pool,
        launch,
        process_queue,
        provision,
        request_destroy,
        request_reset,
        reset,
        sweep,
    )
}
