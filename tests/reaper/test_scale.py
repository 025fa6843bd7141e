"""Sweeps of many sandboxes: a constant number of queries and engine calls, and pruning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import docker
import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sandboxes import blueprints
from sandboxes.models import Event, Extension, IdempotencyKey, Sandbox, State, UsageSample
from sandboxes.models.abstract import batch_delete
from sandboxes.reaper import housekeeping, observe
from sandboxes.reaper.sweep import Sweep
from sandboxes.usage import sampling
from tests.harness import bulk_data
from tests.helpers.scenarios import create_singletons, reload

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.harness.runtimes import DockerHarness

pytestmark = pytest.mark.django_db


def _swept(act: Callable[[], object]) -> list[str]:
    """Return the queries of a sweep that takes samples but performs no action."""
    UsageSample.objects.all().delete()
    act()
    with CaptureQueriesContext(connection) as queries:
        result = Sweep().run()
    assert (result.lines, result.errors) == ([], [])
    return [query["sql"] for query in queries]


@pytest.mark.store
@pytest.mark.parametrize("in_use", [True, False])
def test_a_sweep_of_40_sandboxes_runs_as_many_queries_as_of_2(
    alice: User, runtime: MemoryRuntime, in_use: bool
) -> None:
    create_singletons()
    rows = bulk_data.create_running(2, alice)
    bulk_data.create_on_engine(runtime, rows)

    def use() -> None:
        for row in rows:
            if in_use:
                runtime.add_traffic(row.public_id, 5000)

    Sweep().run()
    few = _swept(use)
    rows = bulk_data.create_running(38, alice) + rows
    bulk_data.create_on_engine(runtime, rows[:38])
    bulk_data.create_ended(50, {alice: 50})
    many = _swept(use)

    assert len(many) == len(few) <= 39, many
    assert UsageSample.objects.count() == 40


@pytest.mark.store
def test_traffic_of_many_sandboxes_is_recorded_for_each(
    alice: User, runtime: MemoryRuntime
) -> None:
    used, moved, idle = rows = bulk_data.create_running(3, alice)
    bulk_data.create_on_engine(runtime, rows)
    an_hour_ago = timezone.now() - timedelta(hours=1)
    alice.sandboxes.update(last_activity_at=an_hour_ago, idle_minutes=90)
    Sandbox.objects.filter(pk=moved.pk).update(addresses={})
    runtime.add_traffic(used.public_id, 5000)
    runtime.add_traffic(moved.public_id, 7000)
    Sweep().run()

    counters = runtime.observe()
    assert [reload(row).traffic_bytes for row in rows] == [
        counters[row.public_id].traffic_bytes for row in rows
    ]
    assert [reload(row).last_activity_at > an_hour_ago for row in rows] == [True, True, False]
    assert reload(moved).addresses == moved.addresses
    assert reload(idle).last_activity_at == an_hour_ago


@pytest.mark.store
def test_observations_of_a_sandbox_that_ended_meanwhile_are_dropped(
    alice: User, runtime: MemoryRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bulk_data.create_running(1, alice)[0]
    bulk_data.create_on_engine(runtime, [row])
    runtime.add_traffic(row.public_id, 5000)
    real = runtime.observe

    def ended_meanwhile(**choices: Any) -> Any:
        found = real(**choices)
        values = {"state": State.DESTROYING, "end_reason": "user", "slot": None}
        Sandbox.objects.filter(pk=row.pk).update(**values)
        return found

    monkeypatch.setattr(runtime, "observe", ended_meanwhile)
    Sweep().run()
    assert reload(row).traffic_bytes == 0


@pytest.fixture
def engine_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect engine requests from now on, as method and path without names."""
    calls: list[str] = []
    real = docker.APIClient.send

    def counted(self: Any, request: Any, **choices: Any) -> Any:
        path = re.sub(r"^.*?/v[\d.]+|\?.*$", "", request.url)
        calls.append(f"{request.method} {path}")
        return real(self, request, **choices)

    monkeypatch.setattr(docker.APIClient, "send", counted)
    return calls


@pytest.fixture
def on_docker(
    docker_harness: DockerHarness, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DockerHarness]:
    """Make sweeps use the runtime of the test engine."""
    for module in (observe, housekeeping, sampling):
        monkeypatch.setattr(module, "get_runtime", lambda _: docker_harness.runtime)
    # The pool makes its own engine calls, for images.
    monkeypatch.setattr(housekeeping, "request_pool_reconcile", lambda _: None)
    return docker_harness


def _made(harness: DockerHarness, alice: User, count: int) -> None:
    """Create small running sandboxes in the database and on the engine."""
    rows = bulk_data.create_running(count, alice)
    with ThreadPoolExecutor(4) as workers:
        all_facts = list(workers.map(lambda _: harness.create()[1], rows))
    for row, facts in zip(rows, all_facts, strict=True):
        # The portal has no blueprint like these.
        row.public_id, row.blueprint = facts.id, "tiny"
        row.addresses = blueprints.addresses(facts)
        row.save()


@pytest.mark.engine
def test_a_sweep_of_6_sandboxes_makes_as_many_engine_calls_as_of_2(
    alice: User, on_docker: DockerHarness, engine_calls: list[str]
) -> None:
    def calls() -> list[str]:
        engine_calls.clear()
        _swept(lambda: None)
        return sorted(engine_calls)

    _made(on_docker, alice, 2)
    Sweep().run()
    few = calls()
    _made(on_docker, alice, 4)
    many = calls()

    assert UsageSample.objects.count() == 6
    assert many == few
    assert len(few) <= 6, few


@pytest.mark.store
def test_ended_sandboxes_and_their_journals_are_pruned_after_retention(
    alice: User, settings
) -> None:
    settings.SANDBOX_RETENTION_DAYS = 45
    bulk_data.create_ended(300, {alice: 150})
    living = bulk_data.create_running(3, alice)
    oldest = timezone.now() - timedelta(days=45)
    kept = set(Sandbox.objects.filter(ended_at__gte=oldest)) | set(living)
    extended = Extension.objects.filter(sandbox__in=kept).count()
    housekeeping.prune()

    assert set(Sandbox.objects.all()) == kept
    assert Event.objects.count() == 8 * (len(kept) - 3) + 3 * 3
    assert Extension.objects.count() == extended


@pytest.mark.store
def test_pruning_deletes_a_limited_batch_oldest_first(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_RETENTION_DAYS = 45
    monkeypatch.setattr(batch_delete, "BATCH_SIZE", 40)
    bulk_data.create_ended(200)
    by_end = list(Sandbox.objects.order_by("ended_at"))
    for sweeps in (1, 2):
        housekeeping.prune()
        assert set(Sandbox.objects.all()) == set(by_end[40 * sweeps :])


@pytest.mark.store
def test_pruning_keeps_up_with_10_000_sandboxes_a_day() -> None:
    sweeps_a_day = 24 * 60  # By cron, which is the slower of the two.
    assert sweeps_a_day * batch_delete.BATCH_SIZE > 10 * 10_000


@pytest.mark.store
def test_samples_keys_and_sessions_are_pruned_in_batches(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_delete, "BATCH_SIZE", 3)
    row, now = bulk_data.create_running(1, alice)[0], timezone.now()
    for days in (1, 8, 8, 8, 8):
        at = now - timedelta(days=days)
        UsageSample.objects.create(
            sandbox=row, at=at, memory_mb=1, cpu_seconds=1, received_bytes=0, sent_bytes=0
        )
        key = f"{IdempotencyKey.objects.count()}"
        at = now - timedelta(days=days // 2)
        IdempotencyKey.objects.create(owner=alice, key=key, sandbox=row, created_at=at)
        until = now + timedelta(days=7 - days)
        Session.objects.create(session_key=key, session_data="", expire_date=until)
    left = []
    for _ in range(2):
        housekeeping.prune()
        tables = (UsageSample, IdempotencyKey, Session)
        left.append([table.objects.count() for table in tables])

    assert left == [[2, 2, 2], [1, 1, 1]]
