"""Save points: saving, restoring, launching from them, and their end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from sandboxes import actions
from sandboxes.actions import engines, save_points
from sandboxes.blueprints import catalog, load
from sandboxes.core import leases
from sandboxes.core.save_points import SAVE_DEADLINE
from sandboxes.lib import clock as portal_clock
from sandboxes.lib.exceptions import (
    IdempotencyKeyReused,
    StateConflict,
    Unavailable,
    ValidationFailed,
)
from sandboxes.models import BlueprintVersion, Engine, EventFeed, SavePoint, SavePointState, State
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import EngineRefused, EngineUnreachable, NotReady
from sandboxes.worker.tasks import save
from tests.helpers.blueprints import prepare
from tests.helpers.scenarios import (
    Killed,
    event_kinds,
    last_message,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db

LEASE = leases.LEASE_DURATION.total_seconds()


def save_as(sandbox, name="before the upgrade"):
    with run_on_commit():
        save_point, _ = save_points.create(sandbox, name, sandbox.owner)
    save_point.refresh_from_db()
    return save_point


def restore(save_point):
    with run_on_commit():
        save_points.restore(save_point, save_point.owner)


@pytest.fixture
def sandbox(alice, runtime):
    sandbox = launch(alice)
    runtime.write_data(sandbox.public_id, "first")
    return sandbox


def test_a_sandbox_returns_to_a_save_point_with_its_addresses_and_credentials(sandbox, runtime):
    save_point = save_as(sandbox)
    assert save_point.is_ready
    assert event_kinds(sandbox)[-2:] == ["save_requested", "saved"]

    runtime.write_data(sandbox.public_id, "second")
    restore(save_point)
    assert runtime.read_data(sandbox.public_id) == "first"
    assert reload(sandbox).addresses == sandbox.addresses
    assert reload(sandbox).secrets == sandbox.secrets
    assert reload(sandbox).reset_requested_at is reload(sandbox).reset_to is None
    assert event_kinds(sandbox)[-2:] == ["restore_requested", "restored"]


def test_a_reset_returns_to_the_seed(sandbox, runtime, monkeypatch):
    runtime.command_results[tuple(load("billing").reset.command)] = (1, "")
    restore(save_as(sandbox))
    with run_on_commit():
        actions.reset(reload(sandbox), sandbox.owner)
    assert runtime.read_data(sandbox.public_id) == ""


def test_a_new_sandbox_starts_from_a_save_point_with_credentials_of_its_own(
    sandbox, alice, runtime
):
    EventFeed.objects.filter(sandbox=sandbox).update(cursor="evt_000000007")
    save_point = save_as(sandbox)
    copy = launch(alice, save_point=save_point.public_id)
    assert runtime.read_data(copy.public_id) == "first"
    assert copy.launched_from == save_point
    assert not set(copy.secrets.values()) & set(sandbox.secrets.values())
    rekey = {each.name: tuple(each.rekey) for each in load("billing").services}["db"]
    assert (copy.public_id, "db", rekey) in runtime.executed
    assert copy.feed.cursor == "evt_000000007"


def test_launches_from_save_points_keep_their_parameters(alice, runtime):
    save_point = save_as(launch(alice, parameters={"scenario": "dunning"}))
    assert launch(alice, save_point=save_point.public_id).parameters == {"scenario": "dunning"}
    for field, value in {"blueprint": "notes", "parameters": {"scenario": "empty"}}.items():
        with pytest.raises(ValidationFailed) as refusal:
            request(alice, **{"save_point": save_point.public_id, field: value})
        assert refusal.value.field == field


def test_a_launch_needs_an_engine_for_the_save_point_only(alice, runtime, settings, tmp_path):
    rekey = {"rekey": {"web": {"command": ["true"]}}}
    default = {"engine_selector": {"zone": "nowhere"}}
    prepare(settings, tmp_path, default=default, other=rekey)
    save_point = save_as(launch(alice, blueprint="other"))
    assert launch(alice, save_point=save_point.public_id).state == State.RUNNING
    with pytest.raises(Unavailable):
        request(alice)


def test_only_save_points_of_ones_own_and_starting_points_can_be_launched(sandbox, bob):
    save_point = save_as(sandbox)
    with pytest.raises(ValidationFailed, match="no save point"):
        request(bob, save_point=save_point.public_id)
    save_points.make_starting_point(save_point, wanted=True)
    assert launch(bob, save_point=save_point.public_id).state == State.RUNNING


def test_a_blueprint_that_sets_no_new_credentials_is_not_launched_from(sandbox, alice, monkeypatch):
    save_point = save_as(sandbox)
    services = [replace(each, rekey=()) for each in load("billing").services]
    without = replace(load("billing"), services=services)
    monkeypatch.setattr(catalog, "load", lambda _: without)
    with pytest.raises(ValidationFailed, match=r"x-sandbox\.rekey"):
        request(alice, save_point=save_point.public_id)
    with pytest.raises(StateConflict, match=r"x-sandbox\.rekey"):
        save_points.make_starting_point(save_point, wanted=True)


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("SANDBOX_SAVE_POINTS_PER_USER", 1, "You have 1 save points of 1"),
        ("SANDBOX_SAVE_POINTS_PER_USER", 0, "disabled"),
        ("SANDBOX_SAVE_POINTS_MB", 200, "take 200 MB of 200 MB"),
    ],
)
def test_a_save_over_the_quota_changes_nothing(sandbox, runtime, settings, setting, value, reason):
    runtime.set_disk_usage(sandbox.public_id, 200)
    save_as(sandbox)
    setattr(settings, setting, value)
    events = event_kinds(sandbox)
    with pytest.raises(StateConflict, match=reason):
        save_as(sandbox, "another")
    assert SavePoint.objects.count() == 1
    assert event_kinds(sandbox) == events


def test_a_save_point_that_turns_out_too_large_fails_and_leaves_nothing(sandbox, runtime, settings):
    settings.SANDBOX_SAVE_POINTS_MB = 100
    runtime.set_disk_usage(sandbox.public_id, 200)
    save_point = save_as(sandbox)
    assert save_point.state == SavePointState.FAILED
    assert "would take 200 MB" in save_point.error
    assert runtime.save_points() == {}
    assert "Couldn't save" in last_message(sandbox)


def test_saves_resets_and_restorations_wait_for_each_other(sandbox, alice):
    save_point = save_as(sandbox)
    actions.reset(sandbox, alice)
    for refused in (lambda: save_as(sandbox), lambda: restore(save_point)):
        with pytest.raises(StateConflict, match="being reset"):
            refused()
    sandbox.__class__.objects.update(reset_requested_at=None)
    save_points.create(sandbox, "another", alice)
    for refused in (
        lambda: save_as(sandbox),
        lambda: restore(save_point),
        lambda: actions.reset(sandbox, alice),
    ):
        with pytest.raises(StateConflict, match="being saved"):
            refused()


def test_a_save_point_in_use_is_not_deleted(sandbox, alice, runtime):
    save_point = save_as(sandbox)
    request(alice, save_point=save_point.public_id)
    with pytest.raises(StateConflict, match="being used"):
        save_points.delete(save_point)
    save_points.restore(save_point, alice)
    with pytest.raises(StateConflict, match="being used"):
        save_points.delete(save_point)


def test_a_key_repeats_a_request(sandbox, alice):
    first, is_new = save_points.create(sandbox, "before", alice, "key")
    assert is_new
    assert save_points.create(sandbox, "before", alice, "key") == (first, False)
    with pytest.raises(IdempotencyKeyReused):
        save_points.create(sandbox, "after", alice, "key")


@pytest.mark.parametrize("point", ["save", "saved"])
@pytest.mark.parametrize("kill", [Killed(), EngineUnreachable("The engine did not answer.")])
def test_a_save_that_was_interrupted_is_completed(sandbox, runtime, clock, point, kill):
    runtime.fail_next(point, kill)
    with suppress(Killed):
        save_as(sandbox)
    save_point = SavePoint.objects.get()
    assert save_point.state == SavePointState.SAVING
    clock.forward(seconds=LEASE)
    sweep()
    save_point.refresh_from_db()
    assert save_point.is_ready
    assert list(runtime.save_points()) == [save_point.public_id]


def test_a_refused_save_is_reported_without_secrets(sandbox, runtime):
    secret = max(sandbox.secrets.values(), key=len)
    runtime.fail_next("save", EngineRefused(f"No {secret}."))
    assert save_as(sandbox).error == "No •••."
    assert last_message(sandbox).endswith("No •••.")
    assert reload(sandbox).leased_until is None


def test_a_save_fails_when_it_takes_too_long_or_its_sandbox_ends(sandbox, alice, runtime, clock):
    first, _ = save_points.create(sandbox, "first", alice)
    runtime.unreachable = True
    clock.forward(seconds=SAVE_DEADLINE.total_seconds() + 1)
    sweep()
    first.refresh_from_db()
    assert (first.state, first.slot) == (SavePointState.FAILED, None)
    runtime.unreachable = False
    second, _ = save_points.create(sandbox, "second", alice)
    actions.destroy(sandbox, alice)
    save(sandbox.public_id)
    second.refresh_from_db()
    assert second.error == "The sandbox has ended."


def test_a_failed_restoration_changes_nothing(sandbox, runtime):
    save_point = save_as(sandbox)
    runtime.write_data(sandbox.public_id, "second")
    runtime.fail_next("ready", NotReady("The service db did not start."))
    restore(save_point)
    assert runtime.read_data(sandbox.public_id) == "second"
    assert event_kinds(sandbox)[-1] == "restore_failed"
    assert reload(sandbox).reset_to is None


@pytest.mark.parametrize("point", ["recreate", "containers", "ready", "discard"])
def test_a_restoration_that_was_interrupted_is_completed(sandbox, runtime, clock, point):
    save_point = save_as(sandbox)
    runtime.write_data(sandbox.public_id, "second")
    runtime.fail_next(point, Killed())
    with suppress(Killed):
        restore(save_point)
    clock.forward(seconds=LEASE)
    sweep()
    assert runtime.read_data(sandbox.public_id) == "first"
    assert "restored" in event_kinds(sandbox)


def test_save_points_outlive_their_sandbox_and_end_after_their_time(sandbox, alice, runtime, clock):
    kept, starting_point = save_as(sandbox), save_as(sandbox, "for all")
    save_points.make_starting_point(starting_point, wanted=True)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    clock.forward(days=config.SANDBOX_SAVE_POINT_DAYS - 1)
    sweep()
    assert launch(alice, save_point=kept.public_id).state == State.RUNNING
    clock.forward(days=1, seconds=1)
    sweep()
    assert list(SavePoint.objects.all()) == [starting_point]
    assert list(runtime.save_points()) == [starting_point.public_id]


def test_a_sweep_removes_what_no_save_point_needs(sandbox, alice, bob, runtime, settings):
    old = portal_clock.now() - timedelta(seconds=settings.SANDBOX_ORPHAN_GRACE_SECONDS + 1)
    runtime.add_save_point("sp_orphan", old)
    runtime.add_save_point("sp_new")
    deleted = save_as(sandbox)
    save_points.delete(deleted)
    runtime.fail_next("remove_save_point", EngineRefused("It is in use."))
    sweep()
    assert SavePoint.objects.filter(pk=deleted.pk).exists()
    sweep()
    assert not SavePoint.objects.exists()
    assert list(runtime.save_points()) == ["sp_new"]
    orphaned = save_as(sandbox)
    SavePoint.objects.filter(pk=orphaned.pk).update(owner=None)
    sweep()
    assert not SavePoint.objects.exists()


def test_the_version_of_a_save_point_is_kept(sandbox):
    save_point = save_as(sandbox)
    version = BlueprintVersion.objects.create(name="billing", digest="a" * 32, images={})
    BlueprintVersion.objects.create(name="billing", digest="b" * 32, images={})
    BlueprintVersion.objects.update(prepared_at=portal_clock.now() - timedelta(days=400))
    BlueprintVersion.objects.filter(digest="b" * 32).update(prepared_at=portal_clock.now())
    unused = BlueprintVersion.objects.unused_since(portal_clock.now() - timedelta(days=1))
    assert list(unused) == [version]
    SavePoint.objects.filter(pk=save_point.pk).update(blueprint_version=version)
    assert list(unused.all()) == []


def test_an_engine_with_save_points_is_removed_only_by_force(sandbox, alice):
    save_point = save_as(sandbox)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    Engine.objects.create(name="other")
    with pytest.raises(StateConflict, match="save points"):
        engines.remove(save_point.engine)
    engines.remove(save_point.engine, force=True)
    sweep()
    assert not SavePoint.objects.exists()
