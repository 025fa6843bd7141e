"""The dashboard at a glance: what there is, what is left, what comes next, what needs its owner."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.models import Sandbox
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
    """The sandbox as if it had been launched so much earlier, and used until now."""
    created = sandbox.created_at - timedelta(minutes=minutes)
    Sandbox.objects.filter(pk=sandbox.pk).update(created_at=created)
    return reload(sandbox)


def launch_and_destroy(user: User, name: str) -> None:
    sandbox = launch(user, name=name)
    with run_on_commit():
        actions.destroy(sandbox, user)


def clear(web: Client, headers: dict[str, str], **data: str) -> HttpResponse:
    """The click, and the page that it leads to."""
    return web.post(reverse("dismiss-ended"), data, headers=headers, follow=True)


def test_one_line_says_what_is_left_and_what_ends_first(web: Client, alice: User) -> None:
    launch(alice, name="later")
    first = launch(alice, name="sooner", ttl_minutes=15)
    assert first.ends_at
    expected = f"1 of 3 available. Next to expire: sooner at {first.ends_at:%H:%M} UTC ."
    assert expected in text(web.get("/"))


def test_what_is_only_asked_for_ends_no_sooner_than_it_begins(web: Client, alice: User) -> None:
    request(alice)
    page = text(web.get("/"))
    assert "2 of 3 available." in page
    assert "ends first" not in page


def test_at_the_limit_the_oldest_is_offered_though_another_ends_first(
    web: Client, alice: User
) -> None:
    oldest = aged(launch(alice, name="oldest", ttl_minutes=120), 5)
    actions.extend(oldest, 30, alice)
    launch(alice, name="second")
    launch(alice, name="short", ttl_minutes=15)
    response = web.get("/")
    assert "15 min , when short expires. Destroy the oldest (oldest)" in text(response)
    assert f'data-dialog="destroy-{oldest.public_id}"' in response.content.decode()


def test_a_failure_below_what_runs_is_told_at_the_top(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    launch(alice, name="runs")
    runtime.fail_startup("api", 3, "api: no such table")
    failed = launch(alice, name="broken")
    told = f"broken failed. {failed.end_message} See why"
    assert told in text(web.get("/"))
    Sandbox.objects.filter(pk=failed.pk).update(ended_at=clock.now() - timedelta(minutes=16))
    assert told not in text(web.get("/")), "by then its owner knows"


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["without", "with"])
def test_what_has_ended_can_be_cleared_away_and_put_back(
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


def test_what_is_undone_twice_stays_as_it_is(web: Client, alice: User) -> None:
    launch_and_destroy(alice, "old-one")
    clear(web, HTMX)
    clear(web, HTMX, undo="yes")
    assert "old-one" in text(clear(web, HTMX, undo="yes"))


def test_an_open_dashboard_hears_of_a_new_first_end(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    seen = web.get("/").context["summary"].etag
    actions.extend(sandbox, 30, alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(last_activity_at=clock.now())
    response = web.get(reverse("overview"), {"etag": seen}, headers=HTMX)
    assert response["HX-Reswap"] == "none"
    assert "Next to expire:" in text(response)
