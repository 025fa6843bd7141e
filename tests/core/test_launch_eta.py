"""Estimates of launch durations, from recent launches and the progress so far."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sandboxes.core import lifecycle
from sandboxes.core.launch_eta import (
    MAX_PROGRESS,
    RECENT_LAUNCHES,
    EtaCalculator,
    LaunchEta,
)
from sandboxes.models import Sandbox
from tests.harness import bulk_data
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import launch, reload, request
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]


def step(name: str, seconds: float | None = None, ago: float = 0.0) -> dict[str, Any]:
    began = timezone.now() - timedelta(seconds=ago)
    state = "running" if seconds is None else "done"
    return {"name": name, "state": state, "started_at": began.isoformat(), "seconds": seconds}


def launched(alice: User, *runs: tuple[float, float, float]) -> None:
    """Create past launches with these durations of their steps."""
    bulk_data.create_ended(len(runs), {alice: len(runs)})
    for row, run in zip(Sandbox.objects.order_by("pk"), runs, strict=True):
        steps = [step(*took) for took in zip(("network", "containers", "ready"), run, strict=True)]
        Sandbox.objects.filter(pk=row.pk).update(steps=steps, blueprint="billing")


def making(alice: User, *steps: dict[str, Any]) -> Sandbox:
    """Return a sandbox whose launch has come to this step."""
    sandbox = request(alice)
    lifecycle.start_provisioning(sandbox)
    Sandbox.objects.filter(pk=sandbox.pk).update(steps=list(steps))
    return reload(sandbox)


def estimate(sandbox: Sandbox) -> LaunchEta:
    found = EtaCalculator().estimate(sandbox)
    assert found
    return found


def test_each_step_is_estimated_by_its_median_duration(alice: User, clock: Clock) -> None:
    launched(alice, (0.2, 1, 2), (0.2, 1, 3), (0.2, 30, 4))
    sandbox = making(alice, step("network", 0.5), step("containers", ago=0.4))
    found = estimate(sandbox)
    assert found.typical.seconds == {"network": 0.2, "containers": 1.0, "ready": 3.0}
    assert found.typical.launches == 3
    assert found.spent == pytest.approx(0.9)
    assert found.remaining == pytest.approx(0.6 + 3.0)


def test_a_slow_step_has_no_estimate_and_never_fills_the_bar(alice: User, clock: Clock) -> None:
    launched(alice, (0.2, 1, 3))
    sandbox = making(alice, step("network", 0.2), step("containers", 1.0), step("ready", ago=60))
    found = estimate(sandbox)
    assert found.overdue
    assert found.remaining == 0
    assert found.progress == MAX_PROGRESS * found.total < found.total


def test_failed_or_unfinished_launches_do_not_count(alice: User) -> None:
    launched(alice, (0.2, 1, 3), (9, 9, 9), (8, 8, 8))
    _first, second, third = Sandbox.objects.order_by("pk")
    for row, state in ((second, "running"), (third, "failed")):
        broken = [*row.steps[:2], row.steps[2] | {"state": state}]
        Sandbox.objects.filter(pk=row.pk).update(steps=broken)
    assert estimate(making(alice)).typical.total == pytest.approx(4.2)


def test_launches_of_reset_or_destroyed_sandboxes_count(alice: User) -> None:
    launched(alice, (0.2, 1, 3))
    Sandbox.objects.update(lease_token=4)
    assert estimate(making(alice)).typical.launches == 1


def test_other_blueprints_and_old_launches_do_not_count(alice: User) -> None:
    launched(alice, (9, 9, 9), *[(0.2, 1, 3)] * RECENT_LAUNCHES)
    newest = Sandbox.objects.latest("pk")
    slow = [taken | {"seconds": 99} for taken in newest.steps]
    Sandbox.objects.filter(pk=newest.pk).update(blueprint="payouts", steps=slow)
    typical = estimate(making(alice)).typical
    assert typical.total == pytest.approx(4.2)
    # The newest rows are of the other blueprint and of the current launch.
    assert typical.launches == RECENT_LAUNCHES - 2


def test_the_estimate_of_a_queued_launch_includes_those_before_it(
    alice: User, bob: User, clock: Clock, settings
) -> None:
    settings.SANDBOX_MAX_CONCURRENT_LAUNCHES = 2
    launched(alice, (1, 1, 2))
    assert estimate(request(alice)).remaining == pytest.approx(4)
    clock.forward(seconds=1)
    request(alice)
    clock.forward(seconds=1)
    assert estimate(request(bob)).remaining == pytest.approx(8)


def test_there_is_no_estimate_for_the_first_launch_and_after_a_launch(
    web: Client, alice: User
) -> None:
    sandbox = making(alice)
    assert EtaCalculator().estimate(sandbox) is None
    assert "No estimate yet" in text(web.get("/"))
    lifecycle.mark_ready(sandbox, {}, 0)
    assert EtaCalculator().estimate(launch(alice)) is None


def test_the_card_counts_down_and_reports_a_delay(web: Client, alice: User, clock: Clock) -> None:
    launched(alice, (0.2, 1, 3), (0.2, 1, 3))
    sandbox = making(alice, step("network", 0.2), step("containers"))
    page = web.get("/")
    assert "About 4 s left" in text(page)
    assert "Usually 4.2 s, based on the last 2 launches" in page.content.decode()
    assert "typically ~3.0 s" in text(page)
    poll = reverse("card", args=[sandbox.public_id])
    seen = {"etag": page.context["live"][0].etag}
    clock.forward(seconds=1)
    assert web.get(poll, seen, headers=HTMX).status_code == 204, "the page counts on its own"
    clock.forward(seconds=30)
    assert "Taking longer than usual (4.2 s)" in text(web.get(poll, seen, headers=HTMX))


def test_the_page_of_a_sandbox_reserves_space_for_later_content(web: Client, alice: User) -> None:
    page = text(web.get(reverse("sandbox", args=[making(alice).public_id])))
    for expected in (
        "Database Available when running",
        "Create network : waiting",
        "Usage",
        "Logs",
    ):
        assert expected in page


def test_the_api_returns_the_same_estimates(alice: User, clock: Clock) -> None:
    launched(alice, (0.2, 1, 3))
    sandbox = making(alice, step("network", 0.2), step("containers", ago=0.5))
    program = ApiClient(alice)
    for response in (
        program.get(f"/sandboxes/{sandbox.public_id}").json(),
        program.get("/sandboxes?state=provisioning").json()["data"][0],
    ):
        assert response["eta_seconds"] == pytest.approx(3.5)
        assert [s["usual_seconds"] for s in response["steps"]] == [0.2, 1.0, 3.0]
    clock.forward(seconds=30)
    assert program.get(f"/sandboxes/{sandbox.public_id}").json()["eta_seconds"] is None
