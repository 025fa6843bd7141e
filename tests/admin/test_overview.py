"""Who is on call sees at first glance what is wrong, and the act that mends it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from sandboxes import actions
from sandboxes.metrics import outcomes
from sandboxes.models import Pool, Sandbox, Site, State
from sandboxes.operators.alerts import active_alerts
from sandboxes.operators.overview import OperatorOverview
from sandboxes.runtime import EngineRefused, EngineUnreachable
from tests.helpers.admin import ask, said
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)
from tests.helpers.web import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]


def raised() -> dict[str, object]:
    return {alert.name: alert for alert in active_alerts(OperatorOverview())}


def mend(admin_client, name: str, **answers: object):
    """Press the button of this alert, and answer what it asks."""
    alert = raised()[name]
    page = admin_client.get("/admin/").content.decode()
    assert f'id="alert-{name}"' in page
    data = {"action": alert.action_name, "_selected_action": alert.row_ids}
    asked = admin_client.post(alert.action_url, data)
    assert 'name="reason"' in asked.content.decode()
    with run_on_commit():
        more = {"confirmed": "yes", "reason": "On call."}
        return admin_client.post(alert.action_url, data | more | answers, follow=True)


def test_a_portal_that_is_well_says_so(admin_client, alice):
    launch(alice)
    sweep()
    assert raised() == {}
    assert "Nothing needs attention." in admin_client.get("/admin/").content.decode()


def test_before_the_first_sweep_and_when_the_reaper_sleeps_it_says_so(admin_client, clock):
    assert raised()["reaper"].is_outage
    sweep()
    assert raised() == {}

    clock.forward(minutes=4)
    assert "4 min ago" in raised()["reaper"].message
    mend(admin_client, "reaper")
    assert raised() == {}


def test_a_stuck_sandbox_is_seen_and_cancelled_from_there(admin_client, alice, clock):
    stuck = request(alice)
    sweep_without_worker()
    assert raised() == {}

    clock.forward(seconds=61)
    sweep_without_worker()
    page = mend(admin_client, "stuck")
    assert said(page) == ["1 sandbox cancelled."]
    assert reload(stuck).state == State.DESTROYED
    assert raised() == {}


def sweep_without_worker() -> None:
    """What it sends to the queue nobody takes up."""
    from sandboxes.reaper.sweep import Sweep

    Sweep().run()


def test_one_that_is_being_made_for_too_long_is_seen(alice, clock, runtime):
    runtime.fail_next("ready", EngineUnreachable("The engine did not answer."))
    with run_on_commit():
        request(alice)
    clock.forward(minutes=3)
    sweep_without_worker()
    assert "stuck" in raised()


def test_a_removal_that_fails_is_seen_and_tried_again_from_there(admin_client, alice, runtime):
    sandbox = launch(alice)
    sweep()
    runtime.fail_next("destroy", EngineRefused("Its volume is busy."))
    with run_on_commit():
        actions.destroy(sandbox, alice)

    assert "Its volume is busy." in raised()["removal"].message
    mend(admin_client, "removal")
    assert reload(sandbox).state == State.DESTROYED
    assert raised() == {}


def test_an_orphan_that_stays_is_seen_and_swept_away_from_there(admin_client, runtime):
    runtime.add_orphan("sbx_orphan", timezone.now() - timedelta(hours=1))
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    sweep()

    assert "sbx_orphan" in raised()["orphans"].message
    mend(admin_client, "orphans")
    assert runtime.observe() == {}
    assert raised() == {}


def test_an_orphan_is_seen_with_the_next_sweep_and_gone_when_it_is_old_enough(
    admin_client, runtime, clock
):
    runtime.add_orphan("sbx_orphan")
    sweep()
    assert "Orphaned on the engine: sbx_orphan" in raised()["orphans"].message

    clock.forward(seconds=61)
    mend(admin_client, "orphans")
    assert runtime.observe() == {}
    assert raised() == {}


def test_an_engine_that_is_down_is_seen_and_looked_at_again_from_there(admin_client, runtime):
    sweep()
    runtime.unreachable = True
    sweep()
    found = raised()
    assert found["engine"].is_outage
    assert found["undrained"].action_label == "Start maintenance"

    runtime.unreachable = False
    mend(admin_client, "engine")
    assert raised() == {}


def test_a_full_disk_is_seen_and_nobody_launches_until_there_is_room(admin_client, alice, runtime):
    runtime.disk_free_mb = 3000
    sweep()
    assert "3000 MB left" in raised()["disk"].message

    runtime.disk_free_mb = 900
    sweep()
    program = ApiClient(alice)
    answer = program.post("/sandboxes", {})
    assert_problem(answer, 503, "disk")
    assert answer["Retry-After"] == "300"
    runtime.disk_free_mb = 60_000
    sweep()
    assert program.post("/sandboxes", {}).status_code == 201
    assert raised() == {}


def test_short_memory_is_seen_and_nobody_launches_until_there_is_some(admin_client, alice, runtime):
    runtime.memory_available_mb = 511
    sweep()
    assert "511 MB left" in raised()["memory"].message
    program = ApiClient(alice)
    answer = program.post("/sandboxes", {})
    assert_problem(answer, 503, "memory")
    assert answer["Retry-After"] == "300"
    assert "low on memory" in str(actions.launch_blocker(alice))
    runtime.memory_available_mb = 512
    sweep()
    assert program.post("/sandboxes", {}).status_code == 201
    assert raised() == {}


def test_the_floor_of_memory_can_be_moved_and_taken_away(alice, runtime, settings):
    settings.SANDBOX_MIN_FREE_MEMORY_MB = 4096
    runtime.memory_available_mb = 4095
    sweep()
    assert actions.launch_blocker(alice) is not None

    settings.SANDBOX_MIN_FREE_MEMORY_MB = 0
    runtime.memory_available_mb = 0
    assert actions.launch_blocker(alice) is None


@pytest.mark.parametrize("what", ["disk_free_mb", "memory_available_mb"])
def test_destroying_works_with_a_full_disk_and_without_memory(alice, runtime, what):
    sandbox = launch(alice)
    setattr(runtime, what, 0)
    sweep()
    with run_on_commit():
        actions.destroy(sandbox, alice)
    assert reload(sandbox).state == State.DESTROYED


def test_a_full_subnet_range_is_seen(alice, settings):
    from ipaddress import IPv4Network

    settings.SANDBOX_SUBNETS = IPv4Network("10.213.0.0/27")
    settings.SANDBOX_MAX_SITE = 50
    launch(alice)
    sweep()
    assert raised() == {}

    launch(alice)
    sweep()
    assert raised()["subnets"].message == "2 of 2 subnets are in use."


def test_places_that_run_out_are_seen(alice, settings):
    settings.SANDBOX_MAX_SITE = 2
    launch(alice)
    launch(alice)
    sweep()
    assert raised()["slots"].message == "2 of 2 slots are in use."


def test_a_clock_that_jumped_is_seen(alice, settings):
    settings.SANDBOX_SWEEP_MAX_EXPIRATIONS = 1
    for _ in range(2):
        launch(alice)
    Sandbox.objects.update(expires_at=timezone.now())
    sweep()
    assert raised()["many_due"].action_label == "Raise the limit"


def test_a_pool_that_can_not_be_filled_is_seen(settings, runtime):
    settings.SANDBOX_POOL_SIZE = 1
    runtime.fail_startup("api", 1)
    sweep()
    assert "failed 1 times" in raised()["pool"].message


def test_missing_images_are_seen(runtime):
    runtime.missing.add("sandboxportal/billing-db")
    sweep()
    assert "build_images" in raised()["images"].message


def test_launches_that_fail_are_seen(alice, runtime, clock):
    for _ in range(3):
        runtime.fail_startup("api", 1)
        with run_on_commit():
            request(alice)
    clock.forward(seconds=20)
    sweep()
    assert raised()["failures"].message == "3 of 3 launches failed in the last hour."


def test_maintenance_quietens_the_question_for_it(runtime):
    Site.objects.update_or_create(pk=1, defaults={"drained_until": timezone.now() + timedelta(1)})
    runtime.unreachable = True
    sweep()
    assert "undrained" not in raised()


def test_it_tells_states_capacity_and_machinery(admin_client, alice, bob):
    launch(alice), launch(bob), request(bob)
    sweep()
    page = text(admin_client.get("/admin/"))

    for words in ("Running 2", "Pending 1", "memory 1", "39.1 GB of 97.7 GB", "Subnets 2 of 4096"):
        assert words.lower() in page.lower(), words
    assert "Last sweep 0 s ago" in page
    assert "memory 1" in page


def test_launches_are_plotted_with_their_times(alice, clock):
    for hours in (0, 1, 30):
        launch(alice)
        actions.destroy(Sandbox.objects.latest("pk"), alice)
        clock.forward(hours=hours, seconds=20)
        outcomes.aggregate_events()
    hour, day, week = OperatorOverview().launch_stats

    assert [period.launches for period in (hour, day, week)] == [0, 0, 3]
    assert len(week.plot.split()) == week.bucket_count
    assert week.p50 is not None and hour.p50 is None


def test_who_may_not_see_sandboxes_sees_no_overview(client, bob):
    bob.is_staff = True
    bob.save()
    client.force_login(bob)
    assert "Capacity" not in client.get("/admin/").content.decode()

    bob.user_permissions.add(Permission.objects.get(codename="view_sandbox"))
    sweep()
    page = client.get("/admin/").content.decode()
    assert "Capacity" in page


def test_what_operators_did_last_is_there(admin_client, alice):
    ask(admin_client, "suspend", alice, reason="Mining coins.")
    assert "Mining coins." in admin_client.get("/admin/").content.decode()


def test_a_pool_counts_by_what_is_wanted(settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    pool = next(gauge for gauge in OperatorOverview().gauges if gauge.name == "warm pool")

    assert (pool.used, pool.total) == (2, 2)
    assert raised() == {}
    assert Pool.objects.get().target_size == 2
