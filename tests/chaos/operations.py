"""What one process of the portal does, from its start until it is done, or killed on the way.

Processes are forked from one that has imported this module, so that starting one takes no time.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty
from typing import TYPE_CHECKING, Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - after the set-up
from django.db import connection, connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from sandboxes import actions  # noqa: E402
from sandboxes.core import lifecycle  # noqa: E402
from sandboxes.lib import clock  # noqa: E402
from sandboxes.models import EndReason, Sandbox  # noqa: E402
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

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@dataclass
class Fuse:
    """Kills this process before or after one of its statements to the database, or messages."""

    kind: str = ""
    number: int = 0
    after: bool = False

    def __post_init__(self) -> None:
        self.passed: Counter[str] = Counter()

    def around(self, kind: str, act: Callable[[], Any]) -> Any:
        self.passed[kind] += 1
        lit = (kind, self.passed[kind]) == (self.kind, self.number)
        if lit and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = act()
        if lit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def lay(self, stack: ExitStack) -> None:
        """Along every statement and every message of this process."""
        stack.enter_context(
            connection.execute_wrapper(
                lambda execute, *statement: self.around("statement", lambda: execute(*statement))
            )
        )
        send = celery_filesystem_broker.Channel._put

        def sent(*args: Any, **options: Any) -> None:
            self.around("message", lambda: send(*args, **options))

        celery_filesystem_broker.Channel._put = sent  # type: ignore[method-assign]


def run(act: str, arguments: list[Any], later: float, fuse: Fuse, answer: Connection) -> None:
    """Do it, `later` seconds from now by the portal's clock; the answer tells what was passed."""
    clock.now = lambda: timezone.now() + timedelta(seconds=later)
    answer.recv()
    with ExitStack() as stack:
        fuse.lay(stack)
        result = ACTS[act](*arguments)
    connections.close_all()
    answer.send((result, dict(fuse.passed)))


def find(public_id: str) -> Sandbox:
    return Sandbox.objects.get(public_id=public_id)


def launch() -> str:
    """A person asks for one; the web process answers with it."""
    alice = User.objects.get(username="alice")
    return actions.launch_sandbox(alice, actions.LaunchRequest())[0].public_id


def ask_to_end(public_id: str) -> None:
    actions.destroy(find(public_id), User.objects.get(username="alice"))


def ask_to_reset(public_id: str) -> None:
    actions.reset(find(public_id), User.objects.get(username="alice"))


def deliver() -> int:
    """A worker does all that it was sent, and what that sends."""
    done = 0
    with app.connection_for_read() as broker:
        queue = broker.SimpleQueue("celery")
        while True:
            try:
                message = queue.get(block=False)
            except Empty:
                return done
            message.ack()
            app.tasks[message.headers["task"]](*message.payload[0])
            done += 1


def provision(public_id: str) -> None:
    """This message is delivered to a worker, as are the two below."""
    worker_tasks.provision(public_id)


def put_back(public_id: str) -> None:
    worker_tasks.reset(public_id)


def tear_down(public_id: str) -> None:
    worker_tasks.tear_down(public_id)


def lay_out(count: int) -> None:
    """So many sandboxes with containers that are never started: there is as much to remove of them,
    and they take a fraction of the engine's time to make."""
    runtime: Any = get_runtime()

    def make(spec: SandboxSpec, *_: Any) -> SandboxFacts:
        runtime._launcher.make(spec)
        return SandboxFacts(spec.id, {}, clock.now())

    runtime.create = make
    for _ in range(count):
        provisioning.provision(find(launch()))


def stock() -> None:
    """A sweep sees what sandboxes are made of, if the engine tells; a worker fills the pool."""
    with suppress(EngineUnreachable):
        reconcile.note_versions()
    pool_tasks.tend_pool()


def empty_the_pool() -> None:
    for row in Sandbox.objects.pooled():
        lifecycle.end(row, EndReason.RETIRED, "The ordeal is over.")
        teardown.tear_down(row)


def sweep() -> dict[str, Any]:
    swept = Sweep(max_endings=0).run()
    return {"errors": swept.errors, "lines": swept.lines, "counts": dict(swept.counts)}


ACTS: dict[str, Callable[..., Any]] = {
    act.__name__: act
    for act in (
        ask_to_end,
        ask_to_reset,
        deliver,
        empty_the_pool,
        launch,
        lay_out,
        provision,
        put_back,
        stock,
        sweep,
        tear_down,
    )
}
