"""Tear sandboxes down, and end those that failed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from django.db import transaction

from sandboxes.core import (
    journal,
    leases,
    lifecycle,
)
from sandboxes.lib import clock
from sandboxes.lib.backoff import Backoff
from sandboxes.metrics import outcomes
from sandboxes.models import EndReason, EventKind, Sandbox, State
from sandboxes.models.abstract.claims import LONGEST_LEASE
from sandboxes.runtime import (
    EngineRefused,
    EngineUnreachable,
    NotReady,
    RuntimeFailure,
    get_runtime,
)
from sandboxes.usage import series
from sandboxes.worker.log_tail import (
    LOG_ERRORS,
    collect_log_tails,
    lacks_log_tails,
    log_tail_reader,
    store_log_tails,
)

log = structlog.get_logger(__name__)

RETRY = Backoff(first=timedelta(seconds=5), longest=LONGEST_LEASE)
MAX_PARALLEL_REMOVALS = 8

EngineCall = Callable[[], Any]
Removal = Generator[EngineCall, Any, bool]


def clean_up_after_lost_lease(sandbox: Sandbox) -> None:
    """Remove what this worker created after the sandbox had ended, if it has."""
    sandbox.refresh_from_db()
    if sandbox.is_not_ending:
        return  # Another worker is provisioning it, or has finished.
    try:
        get_runtime(sandbox.engine.connection).destroy(sandbox.public_id)
    except RuntimeFailure as error:
        log.warning("left_to_the_reaper", sandbox=sandbox.public_id, error=str(error))
    tear_down(sandbox)


def fail_with_error(sandbox: Sandbox, reason: EndReason, error: Exception) -> bool:
    """End a sandbox that failed with this error."""
    if isinstance(error, EngineRefused):
        outcomes.record_engine_error("create")
    service = error.service if isinstance(error, NotReady) else ""
    code = error.exit_code if isinstance(error, NotReady) else None
    return fail(sandbox, reason, str(error), service, code)


def fail(
    sandbox: Sandbox,
    reason: EndReason,
    message: str,
    service: str = "",
    exit_code: int | None = None,
    *,
    remove: Callable[[Sandbox], object] | None = None,
) -> bool:
    """End a sandbox that failed and store the last log lines of its services.

    `remove` takes the sandbox off the engine, by default at once. Return False if its state or its
    lease has changed since the failure was observed.
    """
    failure = {
        "service": service,
        "exit_code": exit_code,
        "log_tail": collect_log_tails(sandbox),
    }
    ended = lifecycle.begin_destroy(
        sandbox,
        reason,
        message,
        expected=[sandbox.state],
        lease_token=sandbox.lease_token,
        failure=failure,
    )
    if ended:
        (remove or tear_down)(sandbox)
    return ended


def tear_down(sandbox: Sandbox) -> bool:
    """Remove all objects of a sandbox from the engine.

    Return False if another worker is removing it, or if the removal has to be retried.
    """
    removal = _removal(sandbox)
    try:
        call = next(removal)
        while True:
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - the removal handles it, or raises it
                call = removal.throw(error)
            else:
                call = removal.send(result)
    except StopIteration as stop:
        return bool(stop.value)


def tear_down_all(
    sandboxes: Iterable[Sandbox],
    on_error: Callable[[Sandbox, Exception], None],
    *,
    several_engines: bool = False,
) -> list[Sandbox]:
    """Tear down several sandboxes at once, and return those whose removal is complete.

    Only engine calls run in threads; rows are read and written by the calling thread. An
    unexpected error of one removal is passed to `on_error` and doesn't stop the others.

    Each of several engines has threads of its own, and one that gives no answer isn't asked again.
    """
    waiting: dict[str, deque[Sandbox]] = defaultdict(deque)
    for sandbox in sandboxes:
        waiting[sandbox.engine_name].append(sandbox)
    if not waiting:
        return []
    with ThreadPoolExecutor(MAX_PARALLEL_REMOVALS * len(waiting)) as threads:
        removals = _ParallelRemovals(threads, waiting, on_error, several_engines)
        removals.run()
    return removals.complete


def _removal(sandbox: Sandbox) -> Removal:
    """Yield the engine calls of one removal; the caller sends back their results and errors."""
    if not leases.acquire_lease(sandbox, [State.DESTROYING]):
        return False
    if lacks_log_tails(sandbox):
        with suppress(*LOG_ERRORS):
            tails = yield log_tail_reader(sandbox)
            store_log_tails(sandbox, tails)
    try:
        yield partial(get_runtime(sandbox.engine.connection).destroy, sandbox.public_id)
    except RuntimeFailure as error:
        _postpone_removal(sandbox, error)
        return False
    return lifecycle.mark_destroyed(sandbox, series.peak_usage(sandbox))


@dataclass
class _ParallelRemovals:
    """Removals whose engine calls run in threads, a bounded number for each engine at a time.

    A removal starts, and so acquires its lease, only when there is a thread for it.
    """

    threads: ThreadPoolExecutor
    waiting: Mapping[str, deque[Sandbox]]
    """By engine."""
    on_error: Callable[[Sandbox, Exception], None]
    several_engines: bool
    running: dict[Future[Any], tuple[Sandbox, Removal]] = field(default_factory=dict)
    complete: list[Sandbox] = field(default_factory=list)

    def run(self) -> None:
        while any(self.waiting.values()) or self.running:
            for engine, waiting in self.waiting.items():
                while waiting and self._running_on(engine) < MAX_PARALLEL_REMOVALS:
                    sandbox = waiting.popleft()
                    removal = _removal(sandbox)
                    self._advance(sandbox, removal, partial(next, removal))
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                sandbox, removal = self.running.pop(future)
                error = future.exception()
                if self.several_engines and isinstance(error, EngineUnreachable):
                    self.waiting[sandbox.engine_name].clear()
                resume = (
                    partial(removal.throw, error)
                    if error
                    else partial(removal.send, future.result())
                )
                self._advance(sandbox, removal, resume)

    def _running_on(self, engine: str) -> int:
        return sum(sandbox.engine_name == engine for sandbox, _ in self.running.values())

    def _advance(
        self, sandbox: Sandbox, removal: Removal, resume: Callable[[], EngineCall]
    ) -> None:
        try:
            call = resume()
        except StopIteration as stop:
            if stop.value:
                self.complete.append(sandbox)
        except Exception as error:  # noqa: BLE001 - it must not stop the other removals
            self.on_error(sandbox, error)
        else:
            self.running[self.threads.submit(call)] = sandbox, removal


def _postpone_removal(sandbox: Sandbox, error: RuntimeFailure) -> None:
    outcomes.record_engine_error("destroy")
    attempts = sandbox.removal_attempts + 1
    message = str(error)[:300]
    until = clock.now() + RETRY.delay(attempts)
    values = {"removal_attempts": attempts, "removal_error": message}
    with transaction.atomic():
        kept = leases.release_lease(sandbox, State.DESTROYING, until, **values)
        if kept and message != sandbox.removal_error:
            journal.record(sandbox, EventKind.REMOVAL_DELAYED, f"{message} Retrying.")
    log.warning("removal_delayed", sandbox=sandbox.public_id, attempts=attempts, error=message)
