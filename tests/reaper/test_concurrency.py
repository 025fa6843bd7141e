"""Concurrent reapers, workers and users, in threads on real databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from sandboxes import actions
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import EndReason, Event, Sandbox, State
from sandboxes.pool import reconcile
from sandboxes.reaper.sweep import Sweep
from sandboxes.worker import provisioning, teardown
from tests.harness.databases import run_in_threads
from tests.helpers.scenarios import (
    expire,
    launch,
    reload,
    request,
)

pytestmark = [pytest.mark.usefixtures("shared_database", "queued_tasks"), pytest.mark.store]


def lines(kind: str) -> int:
    return Event.objects.filter(kind=kind).count()


def create_users(count: int) -> list[User]:
    return [User.objects.create_user(f"u{n}", f"u{n}@example.com") for n in range(count)]


def test_concurrent_reapers_end_each_sandbox_once(runtime):
    rows = [launch(user) for user in create_users(4) for _ in range(3)]
    expire(*rows[:8])
    runtime.stop_service(rows[8].public_id, "api", 1)

    sweeps = run_in_threads(4, lambda _: Sweep().run())

    assert [s.errors for s in sweeps] == [[]] * 4
    assert {reload(row).state for row in rows[:8]} == {State.DESTROYED}
    assert reload(rows[8]).state == State.FAILED
    assert {reload(row).state for row in rows[9:]} == {State.RUNNING}
    assert (lines("ending"), lines("destroyed"), lines("failed")) == (9, 8, 1)
    assert set(runtime.observe()) == {row.public_id for row in rows[9:]}
    assert sum(s.counts["expire"] for s in sweeps) == 8, "exactly one sweep ends each sandbox"


def test_concurrent_reapers_remove_an_orphan_without_errors(runtime):
    runtime.add_orphan("sbx_orphan", timezone.now() - timedelta(hours=1))

    assert [s.errors for s in run_in_threads(4, lambda _: Sweep().run())] == [[]] * 4
    assert runtime.observe() == {}


def test_concurrent_workers_provision_a_sandbox_once(runtime):
    sandbox = request(create_users(1)[0])

    run_in_threads(4, lambda _: provisioning.provision(reload(sandbox)))

    assert (reload(sandbox).state, reload(sandbox).lease_token) == (State.RUNNING, 1)
    assert (lines("provisioning"), lines("running")) == (1, 1)
    assert len(runtime.observe()) == 1


def test_an_extension_and_a_concurrent_reaper_agree(runtime):
    """An extension that was granted is kept, whichever comes first."""
    owner = create_users(1)[0]
    for _ in range(5):
        sandbox = launch(owner)
        expire(sandbox)

        def extend_or_sweep(number: int, sandbox: Sandbox = sandbox) -> bool:
            if number:
                Sweep().run()
                return False
            try:
                actions.extend(reload(sandbox), 30, owner)
            except StateConflict:
                return False
            return True

        granted = any(run_in_threads(2, extend_or_sweep))
        assert reload(sandbox).state == (State.RUNNING if granted else State.DESTROYED)
        actions.destroy(reload(sandbox), owner)
        teardown.tear_down(reload(sandbox))


def test_concurrent_extensions_are_granted_once(runtime):
    owner = create_users(1)[0]
    sandbox = launch(owner)

    def extend(_: int) -> bool:
        try:
            actions.extend(reload(sandbox), 30, owner)
        except StateConflict:
            return False
        return True

    assert sum(run_in_threads(8, extend)) == 1
    assert reload(sandbox).expires_at == sandbox.expires_at + timedelta(minutes=30)


def test_destroying_during_provisioning_leaves_nothing_behind(runtime):
    owner = create_users(1)[0]
    for _ in range(5):
        sandbox = request(owner)

        def make_or_destroy(number: int, sandbox: Sandbox = sandbox) -> None:
            if number:
                provisioning.provision(reload(sandbox))
            else:
                actions.destroy(reload(sandbox), owner)
                teardown.tear_down(reload(sandbox))

        run_in_threads(2, make_or_destroy)
        Sweep().run()
        assert reload(sandbox).state == State.DESTROYED
        assert reload(sandbox).end_reason == EndReason.USER
        assert runtime.observe() == {}


def test_concurrent_launches_claim_different_pooled_sandboxes(runtime, settings):
    settings.SANDBOX_POOL_SIZE = 5
    Sweep().run()
    list(reconcile.reconcile_pools())
    warm = {row.pk for row in Sandbox.objects.pooled()}
    assert len(warm) == 5
    users = create_users(8)

    rows = run_in_threads(8, lambda n: request(users[n]))

    given = [row.pk for row in rows if row.state == State.RUNNING]
    assert sorted(given) == sorted(warm)
    assert len({row.pk for row in rows}) == 8
    assert {reload(row).owner for row in rows} == set(users)
    assert Event.objects.filter(kind="running").count() == 5


def test_concurrent_workers_do_not_overfill_the_pool(runtime, settings):
    settings.SANDBOX_POOL_SIZE = 3
    reconcile.refresh_versions()

    run_in_threads(4, lambda _: list(reconcile.reconcile_pools()))
    list(reconcile.reconcile_pools())

    assert Sandbox.objects.for_pool().count() == Sandbox.objects.count() == 3


def test_concurrent_workers_process_the_launch_queue_once(runtime):
    rows = [request(user) for user in create_users(4) for _ in range(3)]

    run_in_threads(4, lambda _: provisioning.process_queue())

    assert {reload(row).state for row in rows} == {State.RUNNING}
    assert {reload(row).lease_token for row in rows} == {1}
    assert lines("running") == 12
