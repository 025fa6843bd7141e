"""Reconciliation of the warm pool: size, versions and yielding to launches."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions, blueprints
from sandboxes.core.leases import LEASE_DURATION
from sandboxes.lib.exceptions import QuotaExceeded
from sandboxes.models import EndReason, Funding, Maintenance, Pool, Sandbox, State
from sandboxes.pool import policy, reconcile
from sandboxes.runtime import EngineRefused, host_resources
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import (
    Killed,
    launch,
    pooled,
    reconcile_pool,
    reload,
    request,
    run_on_commit,
    state_and_reason,
    sweep,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _pool_of_one(settings, runtime):
    settings.SANDBOX_POOL_SIZE = 1


def test_launches_take_capacity_from_the_pool(alice, bob, olga, settings):
    settings.SANDBOX_POOL_SIZE, settings.SANDBOX_MAX_SITE = 2, 2
    sweep()
    assert len(pooled()) == 2

    with run_on_commit():
        request(alice)
    assert len(pooled()) == 1
    with run_on_commit():
        request(bob)
    assert pooled() == []
    with pytest.raises(QuotaExceeded, match="at capacity"):
        request(olga)


def test_the_pool_gives_up_a_subnet_if_none_is_free(alice, runtime, settings):
    sweep()
    [warm] = pooled()
    runtime.capacity = 1
    Pool.objects.update(version="something newer")

    sandbox = launch(alice)

    assert sandbox.state == State.RUNNING
    assert state_and_reason(warm) == (State.DESTROYED, EndReason.RETIRED)
    assert list(runtime.observe()) == [sandbox.public_id]


def test_the_memory_of_the_portals_machine_does_not_limit_the_pool(tmp_path, monkeypatch):
    facts = tmp_path / "meminfo"
    facts.write_text("MemTotal:       24000000 kB\nMemAvailable:     900000 kB\n")
    monkeypatch.setattr(host_resources, "MEMINFO", facts)
    sweep()
    assert len(pooled()) == 1


@pytest.mark.parametrize(("what", "left"), [("disk_free_mb", 2047), ("memory_available_mb", 1023)])
def test_the_pool_stays_empty_while_the_engine_host_lacks_resources(runtime, what, left):
    sweep()
    assert len(pooled()) == 1

    setattr(runtime, what, left)
    sweep()
    reconcile_pool()
    assert pooled() == []
    assert runtime.observe() == {}

    setattr(runtime, what, left + 1)
    sweep()
    reconcile_pool()
    assert len(pooled()) == 1


def test_unknown_memory_counts_as_sufficient(runtime):
    runtime.memory_available_mb = None
    sweep()

    assert len(pooled()) == 1


def test_the_pool_is_not_filled_while_launches_wait(alice):
    reconcile.refresh_versions()
    waiting = request(alice)
    reconcile_pool()
    assert pooled() == []

    with run_on_commit():
        worker_tasks.provision(waiting.public_id)
    assert reload(waiting).state == State.RUNNING
    assert len(pooled()) == 1, "no launch waits now"


def test_a_rebuilt_image_replaces_the_pool(runtime):
    sweep()
    [old] = pooled()
    runtime.rebuilds["sandboxportal/billing-api"] += 1
    sweep()

    assert state_and_reason(old) == (State.DESTROYED, EndReason.RETIRED)
    assert "images" in reload(old).end_message
    assert len(pooled()) == 1
    assert pooled()[0].spec_version != old.spec_version


def test_a_missing_image_empties_the_pool(runtime):
    sweep()
    runtime.missing_images.add("sandboxportal/billing-api")
    sweep()

    assert pooled() == []


def test_a_sandbox_made_with_other_settings_is_not_claimed(alice, settings):
    sweep()
    settings.SANDBOX_DISK_MB = 4096
    sandbox = request(alice)
    assert (sandbox.state, sandbox.disk_mb) == (State.PENDING, 4096)

    worker_tasks.provision(sandbox.public_id)
    sweep()
    assert [row.disk_mb for row in pooled()] == [4096]


def test_a_sandbox_past_the_maximum_age_is_replaced(alice, clock):
    sweep()
    [old] = pooled()
    clock.forward(minutes=359)
    sweep()
    assert pooled() == [old]

    clock.forward(minutes=1)
    assert request(alice).state == State.PENDING, "its seed dates may be of another day"
    Sandbox.objects.filter(owner=alice).delete()
    sweep()
    assert state_and_reason(old) == (State.DESTROYED, EndReason.RETIRED)
    assert len(pooled()) == 1


def test_operators_change_the_pool_size_without_a_restart(settings):
    sweep()
    Pool.objects.update(size=3)
    sweep()
    assert len(pooled()) == 3

    Pool.objects.update(size=0)
    sweep()
    assert pooled() == []


def test_a_smaller_pool_keeps_the_funded_sandbox(settings):
    settings.SANDBOX_POOL_SIZE = 3
    sweep()
    funded = pooled()[1]
    Sandbox.objects.filter(pk=funded.pk).update(funding=Funding.FUNDED)
    Pool.objects.update(size=1)
    sweep()

    assert pooled() == [funded]


def test_a_paused_pool_is_claimed_but_not_refilled(alice):
    sweep()
    Pool.objects.update(paused=True)
    with run_on_commit():
        assert request(alice).state == State.RUNNING
    sweep()

    assert pooled() == []


def test_maintenance_empties_the_pool(clock):
    sweep()
    until = timezone.now() + timedelta(minutes=10)
    Maintenance.objects.update(until=until)
    sweep()
    assert pooled() == []

    clock.forward(minutes=10)
    sweep()
    assert len(pooled()) == 1


def test_a_sandbox_that_broke_in_the_pool_is_replaced(runtime):
    sweep()
    [broken] = pooled()
    runtime.stop_service(broken.public_id, "api", 3)
    sweep()

    assert state_and_reason(broken) == (State.FAILED, EndReason.CRASHED)
    assert reload(broken).failure["exit_code"] == 3
    assert len(pooled()) == 1


def test_an_engine_restart_replaces_the_pool(runtime):
    sweep()
    [stopped] = pooled()
    runtime.restart_engine()
    sweep()

    assert state_and_reason(stopped) == (State.DESTROYED, EndReason.RETIRED)
    assert [runtime.observe()[row.public_id].alive for row in pooled()] == [True]


@pytest.mark.parametrize("point", ["create", "network", "containers", "ready"])
def test_killed_while_filling_the_pool_no_unfinished_sandbox_stays(runtime, clock, point):
    reconcile.refresh_versions()
    runtime.fail_next(point, Killed())
    with pytest.raises(Killed):
        reconcile_pool()
    [half_made] = Sandbox.objects.for_pool()

    clock.forward(seconds=LEASE_DURATION.total_seconds())
    sweep()

    assert state_and_reason(half_made) == (State.DESTROYED, EndReason.RETIRED)
    assert set(runtime.observe()) == {row.public_id for row in pooled()}
    assert len(pooled()) == 1


def test_failures_to_fill_the_pool_back_off(runtime, clock):
    reconcile.refresh_versions()
    for pause in (30, 60, 120):
        runtime.fail_next("containers", EngineRefused("The engine refused."))
        reconcile_pool()
        reconcile_pool()
        assert Pool.objects.get().retry_at == timezone.now() + timedelta(seconds=pause)
        clock.forward(seconds=pause)
    assert Sandbox.objects.filter(end_reason=EndReason.PROVISION_FAILED).count() == 3

    reconcile_pool()
    assert len(pooled()) == 1
    assert (Pool.objects.get().failures, Pool.objects.get().retry_at) == (0, None)


def test_an_operator_may_destroy_a_pooled_sandbox(olga):
    sweep()
    [warm] = pooled()
    with run_on_commit():
        actions.destroy(warm, olga, "It looks odd.")

    assert state_and_reason(warm) == (State.DESTROYED, EndReason.OPERATOR)


def test_the_version_changes_with_each_image_only(runtime):
    billing = blueprints.load("billing")
    images = runtime.images(billing.images)

    assert policy.spec_version(billing, images) == policy.spec_version(billing, dict(images))
    for image in billing.images:
        assert policy.spec_version(billing, images | {image: "other"}) != policy.spec_version(
            billing, images
        )
        rest = {name: found for name, found in images.items() if name != image}
        assert policy.spec_version(billing, rest) == ""
