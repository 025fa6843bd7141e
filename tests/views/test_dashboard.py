"""The dashboard: slots, deadlines, failures, and dismissed sandboxes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.models import LaunchLock, Maintenance, Sandbox
from sandboxes.views.dashboard.summary import DashboardSummary
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    run_on_commit,
)
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def aged(sandbox: Sandbox, minutes: float) -> Sandbox:
    """Change the sandbox as if it had been launched earlier and used until now."""
    created = sandbox.created_at - timedelta(minutes=minutes)
    Sandbox.objects.filter(pk=sandbox.pk).update(created_at=created)
    return reload(sandbox)


def launch_and_destroy(user: User, name: str) -> None:
    sandbox = launch(user, name=name)
    with run_on_commit():
        actions.destroy(sandbox, user)


def clear(web: Client, headers: dict[str, str], **data: str) -> HttpResponse:
    """Submit the form and return the page that it leads to."""
    return web.post(reverse("dismiss-ended"), data, headers=headers, follow=True)


def test_the_summary_shows_free_slots_and_the_next_deadline(web: Client, alice: User) -> None:
    launch(alice, name="later")
    first = launch(alice, name="sooner", ttl_minutes=15)
    assert first.ends_at
    expected = f"1 of 3 available. Next to expire: sooner at {first.ends_at:%H:%M} UTC ."
    assert expected in text(web.get("/"))


def test_pending_sandboxes_have_no_deadline(web: Client, alice: User) -> None:
    request(alice)
    page = text(web.get("/"))
    assert "2 of 3 available." in page
    assert "ends first" not in page


def test_at_the_limit_the_oldest_sandbox_can_be_replaced(web: Client, alice: User) -> None:
    oldest = aged(launch(alice, name="oldest", ttl_minutes=120), 5)
    actions.extend(oldest, 30, alice)
    launch(alice, name="second")
    launch(alice, name="short", ttl_minutes=15)
    response = web.get("/")
    assert "15 min , when short expires. About limits Destroy the oldest (oldest)" in text(response)
    assert f'data-destroy="{oldest.public_id}"' in response.content.decode()


def test_a_recent_failure_is_shown_at_the_top(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    launch(alice, name="runs")
    runtime.fail_startup("api", 3, "api: no such table")
    failed = launch(alice, name="broken")
    sentence = f"broken failed. {failed.end_message} See why"
    assert sentence in text(web.get("/"))
    Sandbox.objects.filter(pk=failed.pk).update(ended_at=clock.now() - timedelta(minutes=16))
    assert sentence not in text(web.get("/")), "by then its owner knows"


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["without", "with"])
def test_ended_sandboxes_can_be_dismissed_and_restored(
    web: Client, alice: User, headers: dict[str, Any]
) -> None:
    launch_and_destroy(alice, "old-one")
    page = text(clear(web, headers))
    assert "Dismissed. Ended sandboxes stay in History. Undo" in page
    assert "old-one" not in page
    assert "old-one" not in text(web.get("/"))
    assert "old-one" in text(web.get(reverse("history")))
    assert "Your own copy of the API" not in text(web.get("/")), "that is for first-timers"
    launch_and_destroy(alice, "new-one")
    assert "new-one" in text(web.get("/"))
    assert "old-one" in text(clear(web, headers, undo="yes"))


def test_a_sandbox_that_ends_while_the_page_is_computed_is_shown_once(alice: User) -> None:
    sandbox, summary = launch(alice), DashboardSummary(alice)
    assert summary.live == [sandbox]
    with run_on_commit():
        actions.destroy(sandbox, alice)
    assert reload(sandbox).has_ended
    assert summary.ended == []
    assert DashboardSummary(alice).ended == [sandbox]


def test_undoing_twice_changes_nothing(web: Client, alice: User) -> None:
    launch_and_destroy(alice, "old-one")
    clear(web, HTMX)
    clear(web, HTMX, undo="yes")
    assert "old-one" in text(clear(web, HTMX, undo="yes"))


def test_a_new_deadline_refreshes_an_open_dashboard(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    seen = web.get("/").context["summary"].etag
    actions.extend(sandbox, 30, alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(last_activity_at=clock.now())
    response = web.get(reverse("overview"), {"etag": seen}, headers=HTMX)
    assert response["HX-Reswap"] == "none"
    assert "Next to expire:" in text(response)


def test_maintenance_that_begins_while_a_launch_waits_blocks_the_launch(
    web: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = LaunchLock.acquire

    def acquire_after_maintenance_began() -> None:
        Maintenance.store(until=clock.now() + timedelta(hours=1))
        acquire()

    monkeypatch.setattr(LaunchLock, "acquire", acquire_after_maintenance_began)
    page = web.post(reverse("launch"), {"key": "once"}, headers=HTMX)

    assert "The portal is in maintenance" in page.content.decode()
    assert not alice.sandboxes.exists()
