"""The warm pool: made before anybody asks, handed out in a moment, in nobody's way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions, blueprints, limits, pool, stocking, tasks
from sandboxes.errors import LimitReached
from sandboxes.lifecycle import LEASE
from sandboxes.models import ENGINE_AWAY, EndReason, Funding, Pool, Sandbox, Site, State
from sandboxes.runtime import EngineRefused, space
from tests.acting import (
    Killed,
    again,
    committed,
    expire,
    last_line,
    launch,
    request,
    story,
    sweep,
)
from tests.friendbots import Friendbot

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_is_kept_warm(settings, runtime):
    settings.SANDBOX_POOL_SIZE = 1


def pooled() -> list[Sandbox]:
    return list(Sandbox.objects.pooled().order_by("pk"))


def refill() -> None:
    """What a worker does when it is told to."""
    with committed():
        tasks.tend_pool()


def ended_because(row: Sandbox) -> tuple[str, str]:
    return again(row).state, again(row).end_reason


def test_a_sweep_has_the_pool_filled(settings, runtime):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()

    assert len(pooled()) == 2
    assert set(runtime.observe()) == {row.public_id for row in pooled()}
    assert story(pooled()[0])[:3] == ["requested", "provisioning", "pooled"]
    assert {event.by for event in pooled()[0].events.all()} == {"portal"}
    sweep()
    assert len(Sandbox.objects.all()) == 2, "it is full"


def test_launching_gives_one_away_without_asking_the_engine(alice, runtime):
    sweep()
    [warm] = pooled()
    runtime.unreachable = True

    sandbox = request(alice, name="checkout", ttl_minutes=90)

    assert (sandbox.pk, sandbox.state) == (warm.pk, State.RUNNING)
    assert (sandbox.owner, sandbox.name, sandbox.slot) == (alice, "checkout", 1)
    assert sandbox.addresses == warm.addresses
    assert story(sandbox)[-2:] == ["requested", "running"]


def test_its_clocks_start_when_it_is_given_away(alice, clock):
    sweep()
    clock.forward(hours=2)
    now = timezone.now()

    sandbox = request(alice, ttl_minutes=45)

    assert (sandbox.created_at, sandbox.started_at, sandbox.last_activity_at) == (now, now, now)
    assert sandbox.expires_at == now + timedelta(minutes=45)
    assert sandbox.hard_cap_at == now + timedelta(minutes=240)
    assert sweep().errors == []
    assert again(sandbox).state == State.RUNNING


def test_each_has_secrets_of_its_own_that_no_other_had(alice, bob, settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    mine, theirs = request(alice), request(bob)

    own = actions.credentials(mine, alice)
    assert own["api_key"].startswith("sk_test_")
    assert set(own.values()).isdisjoint(actions.credentials(theirs, bob).values())
    assert mine.stellar_public_key != theirs.stellar_public_key


def test_the_place_in_the_pool_is_filled_again_by_itself(alice):
    sweep()
    with committed():
        sandbox = request(alice)

    assert len(pooled()) == 1
    assert pooled()[0].pk != sandbox.pk


def test_a_place_that_is_emptied_while_the_pool_is_filled_is_filled_as_well(alice):
    stocking.note_versions()
    made = stocking.tend()
    next(made)
    sandbox = request(alice)

    assert sandbox.state == State.RUNNING
    assert [row.pk for row in made] == [row.pk for row in pooled()]
    assert len(pooled()) == 1


def test_with_nothing_in_the_pool_a_launch_goes_the_long_way(alice, bob):
    sweep()
    assert request(alice).state == State.RUNNING
    assert request(bob).state == State.PENDING


def test_another_blueprint_than_the_pools_is_made_when_asked_for(alice, settings, monkeypatch):
    sweep()
    known = blueprints.available()
    other = {"shop": known["billing"].__class__(**vars(known["billing"]) | {"name": "shop"})}
    monkeypatch.setattr(blueprints, "available", lambda: {**known, **other})

    assert request(alice, blueprint="shop").state == State.PENDING
    assert len(pooled()) == 1


def test_what_waits_counts_against_nobody(alice, settings):
    settings.SANDBOX_POOL_SIZE, settings.SANDBOX_MAX_PER_USER = 3, 1
    settings.SANDBOX_MAX_SITE = 3
    sweep()

    assert limits.refusal_for(alice) is None
    assert not alice.sandboxes.exists()
    request(alice)
    with pytest.raises(LimitReached, match="1 of 1"):
        request(alice)


def test_people_take_the_places_of_the_site_from_the_pool(alice, bob, olga, settings):
    settings.SANDBOX_POOL_SIZE, settings.SANDBOX_MAX_SITE = 2, 2
    sweep()
    assert len(pooled()) == 2

    with committed():
        request(alice)
    assert len(pooled()) == 1
    with committed():
        request(bob)
    assert pooled() == []
    with pytest.raises(LimitReached, match="All 2 places"):
        request(olga)


def test_the_pool_makes_room_where_subnets_are_short(alice, runtime, settings):
    sweep()
    [warm] = pooled()
    runtime.capacity = 1
    Pool.objects.update(version="something newer")

    sandbox = launch(alice)

    assert sandbox.state == State.RUNNING
    assert ended_because(warm) == (State.DESTROYED, EndReason.RETIRED)
    assert list(runtime.observe()) == [sandbox.public_id]


def test_the_pool_is_emptied_where_memory_is_short(tmp_path, monkeypatch):
    sweep()
    facts = tmp_path / "meminfo"
    facts.write_text("MemTotal:       24000000 kB\nMemAvailable:     900000 kB\n")
    monkeypatch.setattr(space, "MEMORY_FACTS", facts)
    sweep()

    assert pooled() == []
    facts.write_text("MemTotal:       24000000 kB\nMemAvailable:   12000000 kB\n")
    sweep()
    assert len(pooled()) == 1


@pytest.mark.parametrize(("what", "left"), [("disk_free_mb", 2047), ("memory_available_mb", 511)])
def test_nothing_is_kept_or_made_while_the_engines_machine_is_short(runtime, what, left):
    sweep()
    assert len(pooled()) == 1

    setattr(runtime, what, left)
    sweep()
    refill()
    assert pooled() == []
    assert runtime.observe() == {}

    setattr(runtime, what, left + 1)
    sweep()
    refill()
    assert len(pooled()) == 1


def test_where_memory_cannot_be_told_it_is_not_short(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "MEMORY_FACTS", tmp_path / "nowhere")
    sweep()

    assert len(pooled()) == 1


def test_while_people_wait_nothing_is_made_for_the_pool(alice):
    stocking.note_versions()
    waiting = request(alice)
    refill()
    assert pooled() == []

    tasks.provision(waiting.public_id)
    assert again(waiting).state == State.RUNNING
    assert len(pooled()) == 1, "now nobody waits"


def test_a_rebuilt_image_empties_the_pool_and_fills_it_anew(runtime):
    sweep()
    [old] = pooled()
    runtime.builds["sandboxportal/billing-api"] += 1
    sweep()

    assert ended_because(old) == (State.DESTROYED, EndReason.RETIRED)
    assert "images" in again(old).end_message
    assert len(pooled()) == 1
    assert pooled()[0].made_of != old.made_of


def test_a_missing_image_empties_the_pool(runtime):
    sweep()
    runtime.missing.add("sandboxportal/billing-api")
    sweep()

    assert pooled() == []


def test_what_other_settings_made_is_not_handed_out_any_more(alice, settings):
    sweep()
    settings.SANDBOX_DISK_MB = 4096
    sandbox = request(alice)
    assert (sandbox.state, sandbox.disk_mb) == (State.PENDING, 4096)

    tasks.provision(sandbox.public_id)
    sweep()
    assert [row.disk_mb for row in pooled()] == [4096]


def test_one_that_waited_too_long_is_made_anew(alice, clock):
    sweep()
    [old] = pooled()
    clock.forward(minutes=359)
    sweep()
    assert pooled() == [old]

    clock.forward(minutes=1)
    assert request(alice).state == State.PENDING, "its dates might be those of another day"
    Sandbox.objects.filter(owner=alice).delete()
    sweep()
    assert ended_because(old) == (State.DESTROYED, EndReason.RETIRED)
    assert len(pooled()) == 1


def test_operators_change_its_size_without_a_restart(settings):
    sweep()
    Pool.objects.update(size=3)
    sweep()
    assert len(pooled()) == 3

    Pool.objects.update(size=0)
    sweep()
    assert pooled() == []


def test_a_smaller_pool_keeps_what_was_funded(settings):
    settings.SANDBOX_POOL_SIZE = 3
    sweep()
    funded = pooled()[1]
    Sandbox.objects.filter(pk=funded.pk).update(funding=Funding.FUNDED)
    Pool.objects.update(size=1)
    sweep()

    assert pooled() == [funded]


def test_a_paused_pool_hands_out_what_it_has_and_makes_nothing(alice):
    sweep()
    Pool.objects.update(paused=True)
    with committed():
        assert request(alice).state == State.RUNNING
    sweep()

    assert pooled() == []


def test_maintenance_empties_it(clock):
    sweep()
    until = timezone.now() + timedelta(minutes=10)
    Site.objects.update(drained_until=until)
    sweep()
    assert pooled() == []

    clock.forward(minutes=10)
    sweep()
    assert len(pooled()) == 1


def test_nothing_is_handed_out_that_the_engine_cannot_be_asked_about(alice, runtime):
    sweep()
    runtime.unreachable = True
    sweep()
    assert Site.current().reaper_error.startswith(ENGINE_AWAY)
    assert request(alice).state == State.PENDING

    runtime.unreachable = False
    sweep()
    assert len(pooled()) == 1


def test_one_that_broke_while_it_waited_is_replaced(runtime):
    sweep()
    [broken] = pooled()
    runtime.exit(broken.public_id, "api", 3)
    sweep()

    assert ended_because(broken) == (State.FAILED, EndReason.CRASHED)
    assert again(broken).failure["exit_code"] == 3
    assert len(pooled()) == 1


@pytest.mark.parametrize(
    "breaks",
    [
        lambda rt, name: rt.exit(name, "api", 3),
        lambda rt, name: rt.forget(name),
        lambda rt, name: rt.restart_engine(),
    ],
)
def test_one_that_broke_just_before_it_is_given_away_is_made_anew(alice, runtime, breaks):
    sweep()
    [warm] = pooled()
    breaks(runtime, warm.public_id)
    with committed():
        sandbox = request(alice)

    given = again(sandbox)
    assert (given.pk, given.state) == (warm.pk, State.RUNNING)
    assert runtime.observe()[given.public_id].alive
    assert given.addresses != warm.addresses, "its new ports are recorded"
    assert (given.secrets, given.lease_until) == (warm.secrets, None)
    assert "made anew" in last_line(given)
    assert sweep().errors == []


def test_one_that_is_whole_is_given_away_as_it_is(alice, runtime):
    sweep()
    [warm] = pooled()
    with committed():
        request(alice)

    assert again(warm).addresses == warm.addresses
    assert "revived" not in story(warm)


def test_a_verdict_from_before_it_was_made_anew_is_void(alice, runtime, monkeypatch):
    sweep()
    [warm] = pooled()
    runtime.exit(warm.public_id, "api", 3)
    sandbox = request(alice)
    real = runtime.observe

    def made_anew_meanwhile(*args, **choices):
        found = real(*args, **choices)
        monkeypatch.setattr(runtime, "observe", real)
        tasks.look_after(sandbox.public_id)
        return found

    monkeypatch.setattr(runtime, "observe", made_anew_meanwhile)
    result = sweep()

    assert (result.errors, again(sandbox).state) == ([], State.RUNNING)
    assert runtime.observe()[sandbox.public_id].alive


def test_what_an_engine_that_is_away_gave_away_is_left_to_the_sweeps(alice, runtime):
    sweep()
    with committed():
        sandbox = request(alice)
        runtime.unreachable = True

    assert (again(sandbox).state, again(sandbox).lease_until) == (State.RUNNING, None)


def test_after_a_restart_of_the_engine_it_is_filled_anew(runtime):
    sweep()
    [stopped] = pooled()
    runtime.restart_engine()
    sweep()

    assert ended_because(stopped) == (State.DESTROYED, EndReason.RETIRED)
    assert [runtime.observe()[row.public_id].alive for row in pooled()] == [True]


@pytest.mark.parametrize("point", ["create", "network", "containers", "ready"])
def test_killed_while_it_fills_the_pool_nothing_is_left_half_made(runtime, clock, point):
    stocking.note_versions()
    runtime.fail_next(point, Killed())
    with pytest.raises(Killed):
        refill()
    [half_made] = Sandbox.objects.stock()

    clock.forward(seconds=LEASE.total_seconds())
    sweep()

    assert ended_because(half_made) == (State.DESTROYED, EndReason.RETIRED)
    assert set(runtime.observe()) == {row.public_id for row in pooled()}
    assert len(pooled()) == 1


def test_what_cannot_be_made_is_tried_again_ever_later(runtime, clock):
    stocking.note_versions()
    for pause in (30, 60, 120):
        runtime.fail_next("containers", EngineRefused("The engine refused."))
        refill()
        refill()
        assert Pool.objects.get().retry_at == timezone.now() + timedelta(seconds=pause)
        clock.forward(seconds=pause)
    assert Sandbox.objects.filter(end_reason=EndReason.PROVISION_FAILED).count() == 3

    refill()
    assert len(pooled()) == 1
    assert (Pool.objects.get().failures, Pool.objects.get().retry_at) == (0, None)


def test_friendbot_funds_what_waits(alice, bot: Friendbot):
    sweep()
    [warm] = pooled()
    assert warm.funding == Funding.FUNDED
    assert bot.asked_for == [warm.stellar_public_key]

    with committed():
        assert request(alice).funding == Funding.FUNDED
    assert len(bot.asked_for) == 2, "only the next one for the pool was asked for"


def test_a_funded_one_is_handed_out_first(alice, settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    _, second = pooled()
    Sandbox.objects.filter(pk=second.pk).update(funding=Funding.FUNDED)

    assert request(alice).pk == second.pk


def test_an_idempotent_launch_gives_one_away_once(alice, settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    wanted = actions.LaunchRequest()
    first, new = actions.launch(alice, wanted, "key")
    same, again_new = actions.launch(alice, wanted, "key")

    assert (new, again_new) == (True, False)
    assert first.pk == same.pk
    assert len(pooled()) == 1


def test_once_given_away_it_ends_like_any_other(alice, clock):
    sweep()
    sandbox = request(alice)
    expire(sandbox)
    sweep()
    assert ended_because(sandbox) == (State.DESTROYED, EndReason.EXPIRED)

    other = request(alice)
    alice.delete()
    sweep()
    assert ended_because(other) == (State.DESTROYED, EndReason.OPERATOR)


def test_an_operator_may_destroy_one_that_waits(olga):
    sweep()
    [warm] = pooled()
    with committed():
        actions.destroy(warm, olga, "It looks odd.")

    assert ended_because(warm) == (State.DESTROYED, EndReason.OPERATOR)


def test_waiting_in_the_pool_is_no_activity_and_its_traffic_is_not_the_owners(alice, runtime):
    sweep()
    [warm] = pooled()
    runtime.use(warm.public_id, 5000)
    sweep()
    sandbox = request(alice)
    before = sandbox.last_activity_at
    sweep()

    assert again(sandbox).last_activity_at == before


def test_the_version_changes_with_every_image_and_only_then(runtime):
    billing = blueprints.load("billing")
    images = runtime.images(billing.images)

    assert pool.version(billing, images) == pool.version(billing, dict(images))
    for image in billing.images:
        assert pool.version(billing, images | {image: "other"}) != pool.version(billing, images)
        rest = {name: found for name, found in images.items() if name != image}
        assert pool.version(billing, rest) == ""
