"""Everything that may happen to sandboxes, in any order, and what must hold after each of it.

People, operators and sweeps act; messages to the worker are delivered late, twice or never; the
worker is killed in the middle; the engine breaks what it runs, or is away; the clock jumps.
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
from sandboxes import queue as worker_tasks
from sandboxes.actions import operators
from sandboxes.lib.exceptions import (
    KeyReused,
    LimitReached,
    Refusal,
    Unavailable,
)
from sandboxes.models import ENDED, Sandbox, Site, State
from sandboxes.reaper.sweep import Sweep
from sandboxes.runtime import EngineRefused, get_runtime
from sandboxes.runtime.memory import MemoryRuntime
from tests import fuzz
from tests.helpers.scenarios import Killed, committed

if TYPE_CHECKING:
    from sandboxes.runtime import Runtime

START = datetime.fromisoformat("2030-03-01T12:00:00+00:00")
PLACES = 5
"""Of the whole portal, so that both limits are met."""
VERBS = ("create", "network", "containers", "ready", "observe", "destroy", "execute")
TOLD = {
    "requested": State.PENDING,
    "provisioning": State.PROVISIONING,
    "running": State.RUNNING,
    "pooled": State.POOLED,
    "ending": State.DESTROYING,
    "destroyed": State.DESTROYED,
    "failed": State.FAILED,
}
"""What state a line of the journal tells of."""
SETTLED = (State.POOLED, State.RUNNING, *ENDED)
NEVER_LESS = ("started_at", "expires_at", "hard_cap_at", "last_activity_at", "ended_at")
PATIENCE = 60
"""Minutes in which a portal that is left alone comes to rest."""

people = st.sampled_from(["alice", "bob"])
by_whom = st.sampled_from(["owner", "olga"])
choice = st.integers(0, 30)
"""Which of those that there are."""


class Lifecycle(RuleBasedStateMachine):
    """Needs the users alice, bob and olga, SANDBOX_MAX_SITE=PLACES, and a pool of one."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[tuple[Task[Any, Any], tuple[Any, ...]]] = []
        self.seen: dict[int, Sandbox] = {}
        get_runtime.cache_clear()
        runtime: Runtime = get_runtime()
        assert isinstance(runtime, MemoryRuntime)
        self.runtime = runtime
        self.clock = time_machine.travel(START, tick=False)
        self.time = self.clock.start()
        self.sent, worker_tasks.send = (
            worker_tasks.send,
            lambda task, args: self.queue.append((task, args)),
        )
        self.undone = transaction.atomic()
        self.undone.__enter__()

    def teardown(self) -> None:
        fuzz.counts["lifecycles"] += 1
        try:
            self.left_alone_it_comes_to_rest()
        finally:
            transaction.set_rollback(True)
            self.undone.__exit__(None, None, None)
            worker_tasks.send = self.sent
            self.clock.stop()
            get_runtime.cache_clear()

    @initialize(alices=st.integers(1, 3), bobs=st.integers(0, 1), pool=st.booleans())
    def begin(self, alices: int, bobs: int, pool: bool) -> None:
        """Lives that begin with nothing are short."""
        if pool:
            self.sweep(None)
        for who, count in (("alice", alices), ("bob", bobs)):
            for _ in range(count):
                self.launch(who, 120, "")
        while self.queue:
            self.deliver(0, again=False, killed_in=None)

    # What people and operators do.

    @rule(who=people, minutes=st.sampled_from([None, 15, 120]), key=st.sampled_from(["", "a"]))
    def launch(self, who: str, minutes: int | None, key: str) -> None:
        user = user_called(who)
        request = actions.LaunchRequest(ttl_minutes=minutes)
        before, refusal = active(user), actions.refusal_to_launch(user)
        with committed(), suppress(KeyReused):
            try:
                sandbox, new = actions.launch_sandbox(user, request, key)
            except (LimitReached, Unavailable):
                assert refusal, "it was refused, and nobody said so before"
                return
            assert not new or refusal is None
            assert active(user) == before + new
            assert sandbox.owner == user

    @rule(which=choice, minutes=st.sampled_from([1, 60, 120]), by=by_whom, times=st.integers(1, 3))
    def extend(self, which: int, minutes: int, by: str, times: int) -> None:
        row = self.one(which)
        for _ in range(times if row else 0):
            assert row
            before = row.expires_at
            with refusals():
                granted = actions.extend(row, minutes, actor(row, by))
                assert before and before < granted.expires_after <= before + timedelta(
                    minutes=minutes
                )

    @rule(
        which=choice, what=st.sampled_from([actions.touch, actions.reset, actions.read_credentials])
    )
    def act(self, which: int, what: Any) -> None:
        if row := self.one(which):
            with committed(), refusals():
                what(row, actor(row, "owner"))
                assert row.state == State.RUNNING

    @rule(which=st.integers(0, 3), by=by_whom)
    def destroy(self, which: int, by: str) -> None:
        if row := self.one(which):
            with committed():
                actions.destroy(row, actor(row, by))
            assert row.state in (State.DESTROYING, *ENDED)

    @rule(which=choice, what=st.sampled_from(["cancel", "remove", "close", "drain", "open"]))
    def operate(self, which: int, what: str) -> None:
        row, olga, why = self.one(which), user_called("olga"), "On call."
        with committed(), refusals():
            match what:
                case "cancel" if row:
                    operators.cancel(row, olga, why)
                case "remove" if row:
                    operators.retry_removal(row, olga, why)
                case "close" if row and row.owner:
                    operators.suspend(row.owner, olga, why)
                    assert active(row.owner) == 0
                    operators.lift(row.owner)
                case _:
                    until = timezone.now() + timedelta(minutes=20) if what == "drain" else None
                    Site.objects.filter(pk=1).update(drained_until=until)

    # What becomes of messages, of the worker, of the engine, of time.

    @precondition(lambda self: self.queue)
    @rule(which=choice, again=st.booleans(), killed_in=st.sampled_from([None, None, *VERBS]))
    def deliver(self, which: int, again: bool, killed_in: str | None) -> None:
        """Some message comes to a worker, which may be killed at its work."""
        task, args = self.queue[which % len(self.queue)]
        if not again:
            self.queue.remove((task, args))
        if killed_in:
            self.runtime.fail_next(killed_in, Killed())
        with suppress(Killed), committed():
            task(*args)

    @rule(killed_in=st.sampled_from([None, None, None, *VERBS]))
    def sweep(self, killed_in: str | None) -> None:
        if killed_in:
            self.runtime.fail_next(killed_in, Killed())
        with suppress(Killed), committed():
            Sweep().run()

    @rule(which=choice, what=st.sampled_from(["use", "crash", "oom", "forget", "fill", "plant"]))
    def befall(self, which: int, what: str) -> None:
        """Something happens to what the engine runs."""
        held = sorted(name for name, kept in self.runtime._kept.items() if kept.services)
        if not held:
            return
        name = held[which % len(held)]
        match what:
            case "use":
                self.runtime.use(name)
            case "crash" | "oom":
                self.runtime.exit(name, "api", 137, oom=what == "oom")
            case "forget":
                self.runtime.forget(name)
            case "fill":
                self.runtime.fill(name, 1e6)
            case "plant":
                self.runtime.plant("sbx_nobodys")

    @rule(what=st.sampled_from(["restart", "away", "back", "doom", "refuse", "queue lost"]))
    def machinery(self, what: str) -> None:
        match what:
            case "queue lost":
                self.queue.clear()
            case "restart":
                self.runtime.restart_engine()
            case "doom":
                self.runtime.doom("api", 1, "no")
            case "refuse":
                self.runtime.fail_next("destroy", EngineRefused("It is busy."))
            case _:
                self.runtime.unreachable = what == "away"

    @rule(minutes=st.sampled_from([-5, 0.2, 1, 4, 12, 29, 61, 250]))
    def clock_moves(self, minutes: float) -> None:
        self.time.shift(timedelta(minutes=minutes))

    # What holds whatever happened.

    @invariant()
    def limits_hold(self) -> None:
        fuzz.counts["steps"] += 1
        slots = defaultdict(list)
        for row in Sandbox.objects.active().of_people():
            slots[row.owner_id].append(row.slot)
        for owner, taken in slots.items():
            assert len(taken) <= settings.SANDBOX_MAX_PER_USER
            assert len(set(taken)) == len(taken), owner
        assert sum(map(len, slots.values())) <= PLACES

    @invariant()
    def each_row_makes_sense(self) -> None:
        for row in Sandbox.objects.prefetch_related("events", "extensions"):
            told = [TOLD[event.kind] for event in row.events.all() if event.kind in TOLD]
            assert told[-1] == row.state, "the journal tells of another state"
            if row.hard_cap_at:
                assert row.started_at and row.expires_at
                assert row.hard_cap_at - row.started_at == timedelta(minutes=240)
                assert row.expires_at <= row.hard_cap_at
            assert len([one for one in row.extensions.all() if not one.by_operator]) <= 1
        ended = Sandbox.objects.filter(state__in=ENDED)
        assert not ended.exclude(secrets={}, addresses={}).exists()
        assert not Sandbox.objects.live().filter(secrets={}).exists()

    @invariant()
    def nothing_is_taken_back(self) -> None:
        for row in Sandbox.objects.all():
            before = self.seen.get(row.pk)
            self.seen[row.pk] = row
            if before is None:
                continue
            for name in NEVER_LESS:
                was, now = getattr(before, name), getattr(row, name)
                assert was is None or was <= now, f"{name} went back"
            if before.state in (State.DESTROYING, *ENDED):
                assert row.end_reason == before.end_reason
                assert row.state in (before.state, *ENDED)
            assert before.state not in ENDED or row.state == before.state
            assert before.owner_id is None or row.owner_id == before.owner_id

    def left_alone_it_comes_to_rest(self) -> None:
        """With the engine well and sweeps coming, all is finished or undone, and nothing leaks."""
        self.runtime.unreachable = False
        self.runtime._failures.clear()
        self.runtime._doomed.clear()
        for _ in range(PATIENCE):
            if self.is_at_rest():
                return
            self.time.shift(timedelta(minutes=1))
            with committed():
                Sweep(max_endings=0).run()
            while self.queue:
                task, args = self.queue.pop(0)
                with committed():
                    task(*args)
            self.nothing_is_taken_back()
        raise AssertionError(f"It does not come to rest: {self.state_of_things()}")

    def is_at_rest(self) -> bool:
        rows, held = self.state_of_things()
        stands = {name for name, state in rows.items() if state not in ENDED}
        return set(rows.values()) <= set(SETTLED) and held == stands

    def state_of_things(self) -> tuple[dict[str, str], set[str]]:
        return (
            dict(Sandbox.objects.values_list("public_id", "state")),
            set(self.runtime.observe()),
        )

    def one(self, which: int) -> Sandbox | None:
        """One that somebody has, or the last that somebody had."""
        rows = list(Sandbox.objects.live().of_people())
        rows += Sandbox.objects.ended().of_people().order_by("-pk")[:1]
        return rows[which % len(rows)] if rows else None


@contextmanager
def refusals() -> Iterator[None]:
    """What is refused changes nothing; the invariants see to that."""
    with suppress(Refusal):
        yield


def user_called(name: str) -> User:
    return User.objects.get(username=name)


def active(user: User) -> int:
    return user.sandboxes.active().count()


def actor(row: Sandbox, by: str) -> User:
    assert row.owner
    return row.owner if by == "owner" else user_called(by)
