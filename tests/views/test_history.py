"""Ended sandboxes: history, usage, and relaunch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.text import capfirst

from sandboxes import actions
from sandboxes.models import EndReason, Sandbox
from sandboxes.runtime.memory.runtime import PROBE_BYTES
from tests.helpers.scenarios import (
    expire,
    launch,
    reload,
    run_on_commit,
    sweep,
)
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def ended(alice: User, **choices: object) -> Sandbox:
    sandbox = launch(alice, **choices)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    return reload(sandbox)


def own_page(sandbox: Sandbox) -> str:
    return reverse("sandbox", args=[sandbox.public_id])


def launch_again(web: Client, sandbox: Sandbox, page: str, key: str = "one") -> str:
    """Click the page's relaunch button and return the URL that it leads to."""
    form = web.get(page).content.decode()
    assert f'action="{reverse("relaunch", args=[sandbox.public_id])}"' in form
    headers = {"Referer": f"http://testserver{page}"}
    address = reverse("relaunch", args=[sandbox.public_id])
    with run_on_commit():
        return web.post(address, {"key": key}, headers=headers)["Location"]


def test_the_history_lists_what_the_dashboard_omits(web: Client, alice: User) -> None:
    with run_on_commit():
        for number in range(5):
            actions.destroy(launch(alice, name=f"number-{number}"), alice)
    dashboard, history = text(web.get("/")), text(web.get(reverse("history")))
    assert "number-4" in dashboard
    assert "number-0" not in dashboard
    assert "number-0" in history


def test_a_sandbox_can_be_relaunched(web: Client, alice: User) -> None:
    sandbox = ended(alice, name="checkout", ttl_minutes=45)
    for number, page in enumerate(("/", reverse("history"), own_page(sandbox))):
        there = launch_again(web, sandbox, page, f"click {number}")
        newest = Sandbox.objects.latest("pk")
        assert (newest.name, newest.ttl_minutes) == ("checkout", 45)
        own, card = own_page(newest), f"/#card-{newest.public_id}"
        assert there == (own if page == own_page(sandbox) else card)


@pytest.mark.store
def test_a_double_click_launches_once(web: Client, alice: User) -> None:
    sandbox = ended(alice)
    assert launch_again(web, sandbox, "/") == launch_again(web, sandbox, "/")
    assert Sandbox.objects.count() == 2


@pytest.mark.parametrize("place", ["own", "history", "dashboard"])
def test_a_failed_relaunch_shows_the_error_on_the_card(
    web: Client, alice: User, place: str
) -> None:
    sandbox = ended(alice, name="checkout")
    for _ in range(3):
        launch(alice)
    pages = {"own": own_page(sandbox), "history": "/history/?q=checkout", "dashboard": "/"}
    there = launch_again(web, sandbox, pages[place])
    assert there.startswith(pages[place])
    page = web.get(there)
    assert "reached your limit of 3 sandboxes" in text(page)
    assert reverse("relaunch", args=[sandbox.public_id]) in page.content.decode()
    assert Sandbox.objects.count() == 4


def test_a_relaunch_over_the_current_lifetime_limit_is_rejected(
    web: Client, alice: User, settings
) -> None:
    sandbox = ended(alice, ttl_minutes=120)
    settings.SANDBOX_TTL_MAX_MINUTES = 60
    page = web.get(launch_again(web, sandbox, own_page(sandbox)))
    assert "Choose a lifetime from 15 to 60 minutes." in text(page)


def test_an_ended_sandbox_shows_uptime_and_peaks(
    web: Client, alice: User, runtime: MemoryRuntime, clock: Clock
) -> None:
    sandbox = launch(alice)
    clock.forward(seconds=1)
    for megabytes in (30, 80, 20):
        runtime.set_disk_usage(sandbox.public_id, megabytes)
        runtime.add_traffic(sandbox.public_id, 250_000)
        runtime.write_log(sandbox.public_id, "api", '{"time":"2026-11-28T12:00:00Z"}')
        sweep()
        clock.forward(minutes=5)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    traffic = 750_000 + 3 * PROBE_BYTES
    assert reload(sandbox).peak == {
        "memory_mb": 128.0, "cpus": 0.01, "disk_mb": 80.0,
        "received_bytes": traffic, "sent_bytes": traffic,
        "requests": 3, "requests_per_minute": 1.0,
    }  # fmt: skip
    page = text(web.get(own_page(sandbox)))
    assert "Uptime 15 min" in page
    assert "Peak memory 128 / 512 MB" in page
    assert "Peak disk 80 / 2 GB" in page
    assert "Requests 3 Traffic 751.8" in page
    assert "751.8 KB received, 751.8 KB sent" in page
    assert "15 min uptime peak 128 MB" in text(web.get(reverse("history")))


@pytest.mark.store
def test_peaks_outlive_the_samples(
    web: Client, alice: User, runtime: MemoryRuntime, clock: Clock
) -> None:
    sandbox = launch(alice)
    sweep()
    with run_on_commit():
        actions.destroy(sandbox, alice)
    clock.forward(days=8)
    sweep()
    assert not sandbox.samples.exists()
    page = text(web.get(own_page(sandbox)))
    assert "Only peak values are kept" in page
    assert "peak 128 of 512" in page


def test_an_unmeasured_sandbox_has_no_plots(web: Client, alice: User) -> None:
    page = web.get(own_page(ended(alice)))
    assert 'id="usage"' not in page.content.decode()


def test_a_failure_shows_its_step_and_advice(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    runtime.fail_startup("api", 3, "api: no such table")
    sandbox = launch(alice)
    page = text(web.get(own_page(sandbox)))
    assert re.search(r"Failed during “Wait until ready” after \d\.\d s\.", page)
    assert "Launch again. If the same step fails again, send the logs" in page
    assert "Retry" in page
    assert "Never started" in page


def test_an_idle_timeout_shows_how_to_avoid_it(web: Client, alice: User, clock: Clock) -> None:
    sandbox = launch(alice)
    clock.forward(minutes=31)
    sweep()
    page = text(web.get(own_page(sandbox)))
    assert capfirst(EndReason.IDLE.label) in page
    assert "Requests to the sandbox keep it" in page


@pytest.mark.store
def test_the_history_can_be_filtered(web: Client, alice: User, runtime: MemoryRuntime) -> None:
    ended(alice, name="by-hand")
    late = launch(alice, name="too-late")
    expire(late)
    sweep()
    runtime.fail_startup("api", 3)
    launch(alice, name="broken")

    def found(**said: str) -> list[str]:
        return [card.sandbox.name for card in web.get(reverse("history"), said).context["ended"]]

    assert found() == ["broken", "too-late", "by-hand"]
    assert found(end="failed") == ["broken"]
    assert found(end="expired") == ["too-late"]
    assert found(end="user") == ["by-hand"]
    assert found(q="LATE") == found(q=late.public_id) == ["too-late"]
    assert found(q="too", end="user") == []
    assert "No matches." in text(web.get(reverse("history"), {"q": "zzz"}))
    assert web.get(reverse("history"), {"end": "x"})["Location"] == reverse("history")


@pytest.mark.store
def test_older_pages_keep_the_filter(web: Client, alice: User) -> None:
    from tests.harness import bulk_data

    bulk_data.create_ended(60, {alice: 60})
    Sandbox.objects.update(name="nightly", ended_at=reload(Sandbox.objects.first()).ended_at)
    Sandbox.objects.filter(pk__lte=Sandbox.objects.first().pk + 29).update(name="webhooks")
    first = web.get(reverse("history"), {"q": "webhooks"})
    second = web.get(f"{reverse('history')}?{first.context['older']}")
    names = {card.sandbox.name for page in (first, second) for card in page.context["ended"]}
    assert names == {"webhooks"}
    assert [len(page.context["ended"]) for page in (first, second)] == [20, 10]


@pytest.mark.store
def test_only_recent_sandboxes_are_searched(
    web: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.views.history.MAX_SEARCHED", 2)
    for name in ("checkout-1", "checkout-2", "checkout-3"):
        ended(alice, name=name)
    page = web.get(reverse("history"), {"q": "checkout"})
    assert [card.sandbox.name for card in page.context["ended"]] == ["checkout-3", "checkout-2"]


def test_history_of_other_users_is_not_shown(web: Client, bob: User) -> None:
    sandbox = ended(bob, name="secret-project")
    assert "secret-project" not in text(web.get(reverse("history"), {"q": "secret"}))
    assert "secret-project" not in text(web.get(reverse("history"), {"q": sandbox.public_id}))
