"""Claims from the warm pool."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions, blueprints
from sandboxes.core import limits
from sandboxes.lib.exceptions import QuotaExceeded
from sandboxes.models import EndReason, Funding, Sandbox, State, SweepStatus
from sandboxes.pool import reconcile
from sandboxes.worker import tasks as worker_tasks
from tests.fakes.friendbot import Friendbot
from tests.helpers.scenarios import (
    after_next_observe,
    event_kinds,
    expire,
    last_message,
    pooled,
    reload,
    request,
    run_on_commit,
    state_and_reason,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.store]


@pytest.fixture(autouse=True)
def _pool_of_one(settings, runtime):
    settings.SANDBOX_POOL_SIZE = 1


def test_a_sweep_fills_the_pool(settings, runtime):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()

    assert len(pooled()) == 2
    assert set(runtime.observe()) == {row.public_id for row in pooled()}
    assert event_kinds(pooled()[0])[:3] == ["requested", "provisioning", "pooled"]
    assert {event.actor_role for event in pooled()[0].events.all()} == {"portal"}
    sweep()
    assert len(Sandbox.objects.all()) == 2, "the pool is full"


def test_a_launch_claims_a_pooled_sandbox_without_engine_calls(alice, runtime):
    sweep()
    [warm] = pooled()
    runtime.unreachable = True

    sandbox = request(alice, name="checkout", ttl_minutes=90)

    assert (sandbox.pk, sandbox.state) == (warm.pk, State.RUNNING)
    assert (sandbox.owner, sandbox.name, sandbox.slot) == (alice, "checkout", 1)
    assert sandbox.addresses == warm.addresses
    assert event_kinds(sandbox)[-2:] == ["requested", "running"]


def test_its_lifetime_starts_when_it_is_claimed(alice, clock):
    sweep()
    clock.forward(hours=2)
    now = timezone.now()

    sandbox = request(alice, ttl_minutes=45)

    assert (sandbox.created_at, sandbox.started_at, sandbox.last_activity_at) == (now, now, now)
    assert sandbox.expires_at == now + timedelta(minutes=45)
    assert sandbox.hard_cap_at == now + timedelta(minutes=240)
    assert sweep().errors == []
    assert reload(sandbox).state == State.RUNNING


def test_each_pooled_sandbox_has_unique_secrets(alice, bob, settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    mine, theirs = request(alice), request(bob)

    own = actions.read_credentials(mine, alice)
    assert own["api_key"].startswith("sk_test_")
    assert set(own.values()).isdisjoint(actions.read_credentials(theirs, bob).values())
    assert mine.stellar_public_key != theirs.stellar_public_key


def test_the_pool_is_refilled_after_a_claim(alice):
    sweep()
    with run_on_commit():
        sandbox = request(alice)

    assert len(pooled()) == 1
    assert pooled()[0].pk != sandbox.pk


def test_a_claim_while_the_pool_is_filled_is_compensated(alice):
    reconcile.refresh_versions()
    made = reconcile.reconcile_pools()
    next(made)
    sandbox = request(alice)

    assert sandbox.state == State.RUNNING
    assert [row.pk for row in made] == [row.pk for row in pooled()]
    assert len(pooled()) == 1


def test_with_an_empty_pool_a_launch_is_provisioned(alice, bob):
    sweep()
    assert request(alice).state == State.RUNNING
    assert request(bob).state == State.PENDING


def test_a_blueprint_without_pool_is_provisioned_on_request(alice, settings, monkeypatch):
    sweep()
    known = blueprints.available()
    other = {"shop": known["billing"].__class__(**vars(known["billing"]) | {"name": "shop"})}
    monkeypatch.setattr(blueprints, "available", lambda: {**known, **other})

    assert request(alice, blueprint="shop").state == State.PENDING
    assert len(pooled()) == 1


def test_pooled_sandboxes_count_against_no_quota(alice, settings):
    settings.SANDBOX_POOL_SIZE, settings.SANDBOX_MAX_PER_USER = 3, 1
    settings.SANDBOX_MAX_SITE = 3
    sweep()

    assert limits.quota_blocker(alice) is None
    assert not alice.sandboxes.exists()
    request(alice)
    with pytest.raises(QuotaExceeded, match="limit of 1"):
        request(alice)


def test_nothing_is_claimed_while_the_engine_is_unreachable(alice, runtime):
    sweep()
    runtime.unreachable = True
    sweep()
    assert not SweepStatus.current().engine_reachable
    assert request(alice).state == State.PENDING

    runtime.unreachable = False
    sweep()
    assert len(pooled()) == 1


@pytest.mark.parametrize(
    "breaks",
    [
        lambda rt, name: rt.stop_service(name, "api", 3),
        lambda rt, name: rt.remove_externally(name),
    ],
)
def test_a_sandbox_that_broke_before_its_claim_is_recreated(alice, runtime, breaks):
    sweep()
    [warm] = pooled()
    breaks(runtime, warm.public_id)
    with run_on_commit():
        sandbox = request(alice)

    given = reload(sandbox)
    assert (given.pk, given.state) == (warm.pk, State.RUNNING)
    assert runtime.observe()[given.public_id].alive
    assert given.addresses == warm.addresses, "its ports are reserved until it ends"
    assert (given.secrets, given.leased_until) == (warm.secrets, None)
    assert "Recreated" in last_message(given)
    assert sweep().errors == []


def test_an_intact_sandbox_is_claimed_unchanged(alice, runtime):
    sweep()
    [warm] = pooled()
    with run_on_commit():
        request(alice)

    assert reload(warm).addresses == warm.addresses
    assert "revived" not in event_kinds(warm)


def test_a_decision_from_before_the_recreation_is_void(alice, runtime):
    sweep()
    [warm] = pooled()
    runtime.stop_service(warm.public_id, "api", 3)
    sandbox = request(alice)
    after_next_observe(runtime, lambda: worker_tasks.verify_claimed(sandbox.public_id))
    result = sweep()

    assert (result.errors, reload(sandbox).state) == ([], State.RUNNING)
    assert runtime.observe()[sandbox.public_id].alive


def test_a_claim_during_an_engine_outage_is_verified_by_sweeps(alice, runtime):
    sweep()
    with run_on_commit():
        sandbox = request(alice)
        runtime.unreachable = True

    assert (reload(sandbox).state, reload(sandbox).leased_until) == (State.RUNNING, None)


def test_friendbot_funds_pooled_sandboxes(alice, bot: Friendbot):
    sweep()
    [warm] = pooled()
    assert warm.funding == Funding.FUNDED
    assert bot.asked_for == [warm.stellar_public_key]

    with run_on_commit():
        assert request(alice).funding == Funding.FUNDED
    assert len(bot.asked_for) == 2, "only the next pooled sandbox was funded"


def test_funded_sandboxes_are_claimed_first(alice, settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    _, second = pooled()
    Sandbox.objects.filter(pk=second.pk).update(funding=Funding.FUNDED)

    assert request(alice).pk == second.pk


def test_an_idempotent_launch_claims_one_sandbox(alice, settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    wanted = actions.LaunchRequest()
    first, new = actions.launch_sandbox(alice, wanted, "key")
    same, again_new = actions.launch_sandbox(alice, wanted, "key")

    assert (new, again_new) == (True, False)
    assert first.pk == same.pk
    assert len(pooled()) == 1


def test_a_claimed_sandbox_ends_like_any_other(alice, clock):
    sweep()
    sandbox = request(alice)
    expire(sandbox)
    sweep()
    assert state_and_reason(sandbox) == (State.DESTROYED, EndReason.EXPIRED)

    other = request(alice)
    alice.delete()
    sweep()
    assert state_and_reason(other) == (State.DESTROYED, EndReason.OPERATOR)


def test_traffic_in_the_pool_is_not_the_owners_activity(alice, runtime):
    sweep()
    [warm] = pooled()
    runtime.add_traffic(warm.public_id, 5000)
    sweep()
    sandbox = request(alice)
    before = sandbox.last_activity_at
    sweep()

    assert reload(sandbox).last_activity_at == before
