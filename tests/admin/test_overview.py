"""The admin's overview shows alerts with an action for each."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from sandboxes import actions
from sandboxes.metrics import outcomes
from sandboxes.models import Maintenance, Pool, Sandbox, State, WorkerStatus
from sandboxes.operators.alerts import active_alerts
from sandboxes.operators.overview import OperatorOverview
from sandboxes.runtime import EngineRefused, EngineUnreachable
from tests.helpers.admin import messages_of, run_action
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)
from tests.helpers.web import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def raised(*, worker_seen: timedelta = timedelta()) -> dict[str, object]:
    """Return the alerts while a worker is alive, or was seen that long ago."""
    WorkerStatus.store(last_heartbeat_at=timezone.now() - worker_seen)
    return {alert.name: alert for alert in active_alerts(OperatorOverview())}


def fix(admin_client, name: str, **answers: object):
    """Run the action of the alert and confirm it."""
    alert = raised()[name]
    page = admin_client.get("/admin/").content.decode()
    assert f'id="alert-{name}"' in page
    data = {"action": alert.action_name, "_selected_action": alert.row_ids}
    asked = admin_client.post(alert.action_url, data)
    assert 'name="reason"' in asked.content.decode()
    with run_on_commit():
        more = {"confirmed": "yes", "reason": "On call."}
        return admin_client.post(alert.action_url, data | more | answers, follow=True)


def test_a_healthy_portal_has_no_alerts(admin_client, alice):
    launch(alice)
    sweep()
    assert raised() == {}
    assert "Nothing needs attention." in admin_client.get("/admin/").content.decode()


def test_a_missing_or_late_sweep_is_an_alert(admin_client, clock):
    assert raised()["reaper"].is_outage
    sweep()
    assert raised() == {}

    clock.forward(minutes=4)
    assert "4 min ago" in raised()["reaper"].message
    fix(admin_client, "reaper")
    assert raised() == {}


def test_times_that_a_clock_set_back_left_in_the_future_are_alerts(alice, clock):
    request(alice)
    sweep_without_worker()
    clock.forward(minutes=-60)

    assert "60 min in the future, so the clock was changed" in raised()["reaper"].message
    assert "1 sandbox stuck" in raised()["stuck"].message


def test_a_worker_that_does_not_respond_is_an_outage(admin_client):
    sweep()
    alert = raised(worker_seen=timedelta(seconds=60))["worker"]
    assert alert.is_outage
    assert "No worker has responded for 60 s" in alert.message
    assert 'id="alert-worker"' in admin_client.get("/admin/").content.decode()


def test_a_stuck_launch_can_be_canceled_from_its_alert(admin_client, alice, clock):
    stuck = request(alice)
    sweep_without_worker()
    assert raised() == {}

    clock.forward(seconds=61)
    sweep_without_worker()
    page = fix(admin_client, "stuck")
    assert messages_of(page) == ["1 sandbox canceled."]
    assert reload(stuck).state == State.DESTROYED
    assert raised() == {}


def sweep_without_worker() -> None:
    """Sweep without a worker that runs the queued tasks."""
    from sandboxes.reaper.sweep import Sweep

    Sweep().run()


def test_a_launch_over_its_timeout_is_an_alert(alice, clock, runtime):
    runtime.fail_next("ready", EngineUnreachable("The engine did not answer."))
    with run_on_commit():
        request(alice)
    clock.forward(minutes=3)
    sweep_without_worker()
    assert "stuck" in raised()


def test_a_failed_removal_can_be_retried_from_its_alert(admin_client, alice, runtime):
    sandbox = launch(alice)
    sweep()
    runtime.fail_next("destroy", EngineRefused("Its volume is busy."))
    with run_on_commit():
        actions.destroy(sandbox, alice)

    assert "Its volume is busy." in raised()["removal"].message
    fix(admin_client, "removal")
    assert reload(sandbox).state == State.DESTROYED
    assert raised() == {}


def test_an_orphan_can_be_swept_from_its_alert(admin_client, runtime):
    runtime.add_orphan("sbx_orphan", timezone.now() - timedelta(hours=1))
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    sweep()

    assert "sbx_orphan" in raised()["orphans"].message
    fix(admin_client, "orphans")
    assert runtime.observe() == {}
    assert raised() == {}


def test_an_orphan_is_an_alert_until_it_is_removed(admin_client, runtime, clock):
    runtime.add_orphan("sbx_orphan")
    sweep()
    assert "Orphaned on the engine: sbx_orphan" in raised()["orphans"].message

    clock.forward(seconds=61)
    fix(admin_client, "orphans")
    assert runtime.observe() == {}
    assert raised() == {}


def test_an_unreachable_engine_can_be_swept_from_its_alert(admin_client, runtime):
    sweep()
    runtime.unreachable = True
    sweep()
    found = raised()
    assert found["engine"].is_outage
    assert found["undrained"].action_label == "Start maintenance"

    runtime.unreachable = False
    fix(admin_client, "engine")
    assert raised() == {}


def test_a_full_disk_is_an_alert_and_pauses_launches(admin_client, alice, runtime):
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


def test_low_memory_is_an_alert_and_pauses_launches(admin_client, alice, runtime):
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


def test_the_minimum_free_memory_can_be_changed_and_disabled(alice, runtime, settings):
    settings.SANDBOX_MIN_FREE_MEMORY_MB = 4096
    runtime.memory_available_mb = 4095
    sweep()
    assert actions.launch_blocker(alice) is not None

    settings.SANDBOX_MIN_FREE_MEMORY_MB = 0
    runtime.memory_available_mb = 0
    assert actions.launch_blocker(alice) is None


@pytest.mark.parametrize("what", ["disk_free_mb", "memory_available_mb"])
def test_destroy_works_without_disk_space_or_memory(alice, runtime, what):
    sandbox = launch(alice)
    setattr(runtime, what, 0)
    sweep()
    with run_on_commit():
        actions.destroy(sandbox, alice)
    assert reload(sandbox).state == State.DESTROYED


def test_a_full_subnet_range_is_an_alert(alice, settings):
    from ipaddress import IPv4Network

    settings.SANDBOX_SUBNETS = IPv4Network("10.213.0.0/27")
    settings.SANDBOX_MAX_SITE = 50
    launch(alice)
    sweep()
    assert raised() == {}

    launch(alice)
    sweep()
    assert raised()["subnets"].message == "2 of 2 subnets are in use."


def test_a_full_portal_is_an_alert(alice, settings):
    settings.SANDBOX_MAX_SITE = 2
    launch(alice)
    launch(alice)
    sweep()
    assert raised()["slots"].message == "2 of 2 slots are in use."


def test_a_clock_that_jumped_is_an_alert(alice, settings):
    settings.SANDBOX_SWEEP_MAX_EXPIRATIONS = 1
    for _ in range(2):
        launch(alice)
    Sandbox.objects.update(expires_at=timezone.now())
    sweep()
    assert raised()["many_due"].action_label == "Raise the limit"


def test_a_failing_pool_is_an_alert(settings, runtime):
    settings.SANDBOX_POOL_SIZE = 1
    runtime.fail_startup("api", 1)
    sweep()
    assert "failed 1 times" in raised()["pool"].message


def test_missing_images_are_an_alert(runtime):
    runtime.missing_images.add("sandboxportal/billing-db")
    sweep()
    assert "blueprint prepare" in raised()["images"].message


@pytest.mark.store
def test_failing_launches_are_an_alert(alice, runtime, clock):
    for _ in range(3):
        runtime.fail_startup("api", 1)
        with run_on_commit():
            request(alice)
    clock.forward(seconds=20)
    sweep()
    assert raised()["failures"].message == "3 of 3 launches failed in the last hour."


def test_maintenance_mode_removes_the_alert_that_suggests_it(runtime):
    Maintenance.objects.update_or_create(pk=1, defaults={"until": timezone.now() + timedelta(1)})
    runtime.unreachable = True
    sweep()
    assert "undrained" not in raised()


@pytest.mark.store
def test_the_overview_shows_states_capacity_and_system(admin_client, alice, bob):
    launch(alice), launch(bob), request(bob)
    sweep()
    page = text(admin_client.get("/admin/"))

    for words in ("Running 2", "Pending 1", "memory 1", "39.1 GB of 97.7 GB", "Subnets 2 of 4096"):
        assert words.lower() in page.lower(), words
    assert "Last sweep 0 s ago" in page
    assert "memory 1" in page


@pytest.mark.store
def test_launches_are_plotted_with_their_durations(alice, clock):
    for hours in (0, 1, 30):
        launch(alice)
        actions.destroy(Sandbox.objects.latest("pk"), alice)
        clock.forward(hours=hours, seconds=20)
        outcomes.aggregate_events()
    hour, day, week = OperatorOverview().launch_stats

    assert [period.launches for period in (hour, day, week)] == [0, 0, 3]
    assert len(week.plot.split()) == week.bucket_count
    assert week.p50 is not None and hour.p50 is None


def test_the_overview_requires_permission_to_view_sandboxes(client, bob):
    bob.is_staff = True
    bob.save()
    client.force_login(bob)
    assert "Capacity" not in client.get("/admin/").content.decode()

    bob.user_permissions.add(Permission.objects.get(codename="view_sandbox"))
    sweep()
    page = client.get("/admin/").content.decode()
    assert "Capacity" in page


@pytest.mark.store
def test_the_overview_shows_recent_operator_activity(admin_client, alice):
    run_action(admin_client, "suspend", alice, reason="Mining coins.")
    assert "Mining coins." in admin_client.get("/admin/").content.decode()


def test_the_pool_gauge_is_relative_to_its_target(settings):
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    pool = next(gauge for gauge in OperatorOverview().gauges if gauge.name == "warm pool")

    assert (pool.used, pool.total) == (2, 2)
    assert raised() == {}
    assert Pool.objects.get().target_size == 2
