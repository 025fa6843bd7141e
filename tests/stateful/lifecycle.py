"""A state machine of everything that can happen to sandboxes, and the invariants after each step.

Users, operators and the reaper act. Messages are delivered late, twice or never; workers are killed
at any point; sandboxes crash; the engine is unreachable; the clock jumps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import time_machine
from celery import Task
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sandboxes import actions
from sandboxes.actions import operators
from sandboxes.lib import queue
from sandboxes.lib.exceptions import (
    IdempotencyKeyReused,
    QuotaExceeded,
    ServiceError,
    Unavailable,
)
from sandboxes.models import TERMINAL_STATES, Maintenance, Sandbox, State
from sandboxes.reaper.sweep import Sweep
from sandboxes.runtime import EngineRefused, forget_runtimes, get_runtime
from sandboxes.runtime.memory import MemoryRuntime
from tests import fuzz
from tests.helpers.scenarios import Killed, run_on_commit

if TYPE_CHECKING:
    from sandboxes.runtime import Runtime

START = datetime.fromisoformat("2030-03-01T12:00:00+00:00")
SITE_LIMIT = 5
"""Site-wide limit, low enough that both limits are reached."""
RUNTIME_CALLS = ("create", "network", "containers", "ready", "observe", "destroy", "execute")
STATE_AFTER_EVENT = {
    "requested": State.PENDING,
    "provisioning": State.PROVISIONING,
    "running": State.RUNNING,
    "pooled": State.POOLED,
    "ending": State.DESTROYING,
    "destroyed": State.DESTROYED,
    "failed": State.FAILED,
}
STABLE_STATES = (State.POOLED, State.RUNNING, *TERMINAL_STATES)
NON_DECREASING_FIELDS = ("started_at", "expires_at", "hard_cap_at", "last_activity_at", "ended_at")
MAX_SETTLE_MINUTES = 60

usernames = st.sampled_from(["alice", "bob"])
actors = st.sampled_from(["owner", "olga"])
indexes = st.integers(0, 30)
"""Index of a row or a message, modulo their number."""


class Lifecycle(RuleBasedStateMachine):
    """Requires the users alice, bob and olga, SANDBOX_MAX_SITE=SITE_LIMIT and a pool of size 1."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[tuple[Task[Any, Any], tuple[Any, ...]]] = []
        self.previous: dict[int, Sandbox] = {}
        forget_runtimes()
        runtime: Runtime = get_runtime()
        assert isinstance(runtime, MemoryRuntime)
        self.runtime = runtime
        self.clock = time_machine.travel(START, tick=False)
        self.time = self.clock.start()
        self.original_send, queue.send = (
            queue.send,
            lambda task, args: self.queue.append((task, args)),
        )
        self.transaction = transaction.atomic()
        self.transaction.__enter__()

    def teardown(self) -> None:
        fuzz.counts["lifecycles"] += 1
        try:
            self.assert_settles()
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)
            queue.send = self.original_send
            self.clock.stop()
            forget_runtimes()

    @initialize(alices=st.integers(1, 3), bobs=st.integers(0, 1), pool=st.booleans())
    def begin(self, alices: int, bobs: int, pool: bool) -> None:
        """Start with some sandboxes, as too little happens without any."""
        if pool:
            self.sweep(None)
        for username, count in (("alice", alices), ("bob", bobs)):
            for _ in range(count):
                self.launch(username, 120, "")
        while self.queue:
            self.deliver(0, again=False, killed_in=None)

    # Actions of users and operators.

    @rule(
        username=usernames, minutes=st.sampled_from([None, 15, 120]), key=st.sampled_from(["", "a"])
    )
    def launch(self, username: str, minutes: int | None, key: str) -> None:
        user = get_user(username)
        request = actions.LaunchRequest(ttl_minutes=minutes)
        before, blocker = active(user), actions.launch_blocker(user)
        with run_on_commit(), suppress(IdempotencyKeyReused):
            try:
                sandbox, new = actions.launch_sandbox(user, request, key)
            except (QuotaExceeded, Unavailable):
                assert blocker, "a launch was rejected although nothing blocked it"
                return
            assert not new or blocker is None
            assert active(user) == before + new
            assert sandbox.owner == user

    @rule(index=indexes, minutes=st.sampled_from([1, 60, 120]), by=actors, times=st.integers(1, 3))
    def extend(self, index: int, minutes: int, by: str, times: int) -> None:
        row = self.sandbox(index)
        for _ in range(times if row else 0):
            assert row
            before = row.expires_at
            with rejections():
                granted = actions.extend(row, minutes, actor(row, by))
                assert before and before < granted.expires_after <= before + timedelta(
                    minutes=minutes
                )

    @rule(
        index=indexes,
        action=st.sampled_from([actions.touch, actions.reset, actions.read_credentials]),
    )
    def use(self, index: int, action: Any) -> None:
        if row := self.sandbox(index):
            with run_on_commit(), rejections():
                action(row, actor(row, "owner"))
                assert row.state == State.RUNNING

    @rule(index=st.integers(0, 3), by=actors)
    def destroy(self, index: int, by: str) -> None:
        if row := self.sandbox(index):
            with run_on_commit():
                actions.destroy(row, actor(row, by))
            assert row.state in (State.DESTROYING, *TERMINAL_STATES)

    @rule(
        index=indexes,
        action=st.sampled_from(["cancel", "retry removal", "suspend user", "drain", "reopen"]),
    )
    def operate(self, index: int, action: str) -> None:
        row, olga, reason = self.sandbox(index), get_user("olga"), "On call."
        with run_on_commit(), rejections():
            match action:
                case "cancel" if row:
                    operators.cancel(row, olga, reason)
                case "retry removal" if row:
                    operators.retry_removal(row, olga, reason)
                case "suspend user" if row and row.owner:
                    operators.suspend_user(row.owner, olga, reason)
                    assert active(row.owner) == 0
                    operators.unsuspend_user(row.owner)
                case _:
                    until = timezone.now() + timedelta(minutes=20) if action == "drain" else None
                    Maintenance.objects.filter(pk=1).update(until=until)

    # Messages, workers, the engine and the clock.

    @precondition(lambda self: self.queue)
    @rule(
        index=indexes,
        again=st.booleans(),
        killed_in=st.sampled_from([None, None, *RUNTIME_CALLS]),
    )
    def deliver(self, index: int, again: bool, killed_in: str | None) -> None:
        """Deliver a message to a worker, which may be killed at a call of the runtime."""
        task, args = self.queue[index % len(self.queue)]
        if not again:
            self.queue.remove((task, args))
        if killed_in:
            self.runtime.fail_next(killed_in, Killed())
        with suppress(Killed), run_on_commit():
            task(*args)

    @rule(killed_in=st.sampled_from([None, None, None, *RUNTIME_CALLS]))
    def sweep(self, killed_in: str | None) -> None:
        if killed_in:
            self.runtime.fail_next(killed_in, Killed())
        with suppress(Killed), run_on_commit():
            Sweep().run()

    @rule(
        index=indexes,
        event=st.sampled_from(["traffic", "crash", "oom", "lost", "disk full", "orphan"]),
    )
    def change_sandbox(self, index: int, event: str) -> None:
        """Let something happen to a sandbox on the engine."""
        names = sorted(name for name, fake in self.runtime._sandboxes.items() if fake.services)
        if not names:
            return
        name = names[index % len(names)]
        match event:
            case "traffic":
                self.runtime.add_traffic(name)
            case "crash" | "oom":
                self.runtime.stop_service(name, "api", 137, oom=event == "oom")
            case "lost":
                self.runtime.remove_externally(name)
            case "disk full":
                self.runtime.set_disk_usage(name, 1e6)
            case "orphan":
                self.runtime.add_orphan("sbx_orphan")

    @rule(
        fault=st.sampled_from(
            [
                "engine restart",
                "engine unreachable",
                "engine reachable",
                "start failure",
                "removal failure",
                "queue lost",
            ]
        )
    )
    def inject_fault(self, fault: str) -> None:
        match fault:
            case "queue lost":
                self.queue.clear()
            case "engine restart":
                self.runtime.restart_engine()
            case "start failure":
                self.runtime.fail_startup("api", 1, "no")
            case "removal failure":
                self.runtime.fail_next("destroy", EngineRefused("It is busy."))
            case _:
                self.runtime.unreachable = fault == "engine unreachable"

    @rule(minutes=st.sampled_from([-5, 0.2, 1, 4, 12, 29, 61, 250]))
    def move_clock(self, minutes: float) -> None:
        self.time.shift(timedelta(minutes=minutes))

    # Invariants.

    @invariant()
    def limits_are_respected(self) -> None:
        fuzz.counts["steps"] += 1
        slots = defaultdict(list)
        for row in Sandbox.objects.active().requested():
            slots[row.owner_id].append(row.slot)
        for owner, taken in slots.items():
            assert len(taken) <= settings.SANDBOX_MAX_PER_USER
            assert len(set(taken)) == len(taken), owner
        assert sum(map(len, slots.values())) <= SITE_LIMIT

    @invariant()
    def rows_are_consistent(self) -> None:
        for row in Sandbox.objects.prefetch_related("events", "extensions"):
            states = [
                STATE_AFTER_EVENT[event.kind]
                for event in row.events.all()
                if event.kind in STATE_AFTER_EVENT
            ]
            assert states[-1] == row.state, "the journal ends with another state"
            if row.hard_cap_at:
                assert row.started_at and row.expires_at
                assert row.hard_cap_at - row.started_at == timedelta(minutes=240)
                assert row.expires_at <= row.hard_cap_at
            assert sum(not extension.by_operator for extension in row.extensions.all()) <= 1
        ended = Sandbox.objects.filter(state__in=TERMINAL_STATES)
        assert not ended.exclude(secrets={}, addresses={}).exists()
        assert not Sandbox.objects.live().filter(secrets={}).exists()

    @invariant()
    def changes_are_monotonic(self) -> None:
        for row in Sandbox.objects.all():
            before = self.previous.get(row.pk)
            self.previous[row.pk] = row
            if before is None:
                continue
            for name in NON_DECREASING_FIELDS:
                was, now = getattr(before, name), getattr(row, name)
                assert was is None or was <= now, f"{name} decreased"
            if before.state in (State.DESTROYING, *TERMINAL_STATES):
                assert row.end_reason == before.end_reason
                assert row.state in (before.state, *TERMINAL_STATES)
            assert before.state not in TERMINAL_STATES or row.state == before.state
            assert before.owner_id is None or row.owner_id == before.owner_id

    def assert_settles(self) -> None:
        """With a healthy engine and regular sweeps, all work is finished and nothing leaks."""
        self.runtime.unreachable = False
        self.runtime._failures.clear()
        self.runtime._startup_failures.clear()
        for _ in range(MAX_SETTLE_MINUTES):
            if self.is_settled():
                return
            self.time.shift(timedelta(minutes=1))
            with run_on_commit():
                Sweep(max_expirations=0).run()
            while self.queue:
                task, args = self.queue.pop(0)
                with run_on_commit():
                    task(*args)
            self.changes_are_monotonic()
        raise AssertionError(f"The portal doesn't settle: {self.rows_and_engine()}")

    def is_settled(self) -> bool:
        rows, on_engine = self.rows_and_engine()
        live = {name for name, state in rows.items() if state not in TERMINAL_STATES}
        return set(rows.values()) <= set(STABLE_STATES) and on_engine == live

    def rows_and_engine(self) -> tuple[dict[str, str], set[str]]:
        return (
            dict(Sandbox.objects.values_list("public_id", "state")),
            set(self.runtime.observe()),
        )

    def sandbox(self, index: int) -> Sandbox | None:
        """Return a live sandbox of a user, or the last one that ended."""
        rows = list(Sandbox.objects.live().requested())
        rows += Sandbox.objects.ended().requested().order_by("-pk")[:1]
        return rows[index % len(rows)] if rows else None


@contextmanager
def rejections() -> Iterator[None]:
    """Ignore rejected actions; the invariants check that these change nothing."""
    with suppress(ServiceError):
        yield


def get_user(name: str) -> User:
    return User.objects.get(username=name)


def active(user: User) -> int:
    return user.sandboxes.active().count()


def actor(row: Sandbox, by: str) -> User:
    assert row.owner
    return row.owner if by == "owner" else get_user(by)
