"""Pages: access, the dashboard, and launching."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.models import LimitOverride, Maintenance, Sandbox, State
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    reload,
    request,
    run_on_commit,
)
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

PLAIN = ["dashboard", "overview", "history", "tokens"]
LOOKS = ["sandbox", "card", "journal", "logs", "download-logs", "usage"]
ACTS = ["extend", "touch", "retry-funding", "reset", "destroy", "credentials", "relaunch"]


@pytest.mark.parametrize("name", PLAIN)
def test_pages_require_sign_in(client: Client, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize("name", LOOKS + ACTS)
def test_sandboxes_of_other_users_are_not_found(
    web: Client, bob: User, runtime: MemoryRuntime, name: str
) -> None:
    sandbox = launch(bob)
    before = event_kinds(sandbox)
    address = reverse(name, args=[sandbox.public_id])
    answers = {web.get(address).status_code, web.post(address).status_code}
    assert answers <= {404, 405}
    assert 404 in answers
    assert (reload(sandbox).state, event_kinds(sandbox)) == (State.RUNNING, before)


@pytest.mark.parametrize("name", ["extend", "touch", "retry-funding", "relaunch"])
def test_actions_require_post(web: Client, alice: User, name: str) -> None:
    sandbox = launch(alice)
    assert web.get(reverse(name, args=[sandbox.public_id])).status_code == 405


def test_a_cross_site_form_is_rejected(alice: User) -> None:
    sandbox, strict = launch(alice), Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    response = strict.post(reverse("destroy", args=[sandbox.public_id]))
    assert response.status_code == 403
    assert "This page expired" in text(response)
    assert reload(sandbox).state == State.RUNNING


def test_a_signed_out_poll_reloads_the_page(client: Client, alice: User) -> None:
    address = reverse("card", args=[launch(alice).public_id])
    response = client.get(address, headers=HTMX)
    assert (response["HX-Refresh"], response.content) == ("true", b"")


@pytest.mark.parametrize("name", PLAIN)
def test_pages_are_not_cached(web: Client, name: str) -> None:
    assert "no-store" in web.get(reverse(name))["Cache-Control"]


def test_new_users_see_an_introduction(web: Client) -> None:
    page = text(web.get("/"))
    for promise in ("5 plans", "10 subscribers", "20 invoices", "funded Stellar testnet account"):
        assert promise in page
    assert "0 of 3 sandboxes" in page


def test_one_click_launches_with_the_defaults(web: Client, alice: User) -> None:
    form = web.get("/").context["form"]
    with run_on_commit():
        response = web.post(reverse("launch"), {"key": form["key"].value()})
    sandbox = Sandbox.objects.get()
    assert response["Location"] == f"/#card-{sandbox.public_id}"
    assert (sandbox.owner, sandbox.state, sandbox.ttl_minutes) == (alice, State.RUNNING, 60)


def test_name_and_lifetime_can_be_chosen(web: Client) -> None:
    choices = {"key": "one", "name": "checkout", "ttl_minutes": "90", "blueprint": "billing"}
    web.post(reverse("launch"), choices)
    sandbox = Sandbox.objects.get()
    assert (sandbox.name, sandbox.ttl_minutes) == ("checkout", 90)


def test_submitting_a_form_twice_launches_once(web: Client) -> None:
    for _ in range(2):
        assert web.post(reverse("launch"), {"key": "one"}).status_code == 302
    assert Sandbox.objects.count() == 1


def test_a_reused_form_with_other_values_must_be_resubmitted(web: Client) -> None:
    web.post(reverse("launch"), {"key": "one"})
    response = web.post(reverse("launch"), {"key": "one", "name": "other"})
    assert "This form was already submitted" in text(response)
    assert response.context["form"]["key"].value() != "one"
    assert Sandbox.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("ttl_minutes", "3", "Choose a lifetime from 15 to 120 minutes."),
        ("ttl_minutes", "soon", "Enter a whole number."),
        ("name", "x" * 61, "Ensure this value has at most 60 characters"),
        ("blueprint", "nonsense", "Select a valid choice."),
    ],
)
def test_an_error_is_shown_beside_its_field(
    web: Client, field: str, value: str, remedy: str
) -> None:
    response = web.post(reverse("launch"), {"key": "one", field: value})
    assert remedy in " ".join(response.context["form"].errors[field])
    assert remedy in text(response)
    assert not Sandbox.objects.exists()


def test_the_form_respects_the_limits_of_the_user(web: Client, alice: User) -> None:
    LimitOverride.objects.create(user=alice, max_active=1, ttl_max_minutes=30, reason="trial")
    response = web.get("/")
    assert response.context["form"].lifetimes == [15, 30]
    assert "0 of 1 sandboxes" in text(response)


def test_at_the_limit_the_page_shows_when_a_slot_opens(web: Client, alice: User) -> None:
    for name in ("first", "second", "third"):
        launch(alice, name=name)
    page = text(web.get("/"))
    assert "3 of 3 sandboxes You've reached your limit of 3 sandboxes." in page
    assert re.search(
        r"opens in about (29|30) min , when first times out\. About limits "
        r"Destroy the oldest \(first",
        page,
    )


def test_a_launch_over_the_limit_is_rejected(web: Client, alice: User) -> None:
    for _ in range(3):
        launch(alice)
    response = web.post(reverse("launch"), {"key": "one"})
    assert "reached your limit of 3 sandboxes." in text(response)
    assert Sandbox.objects.count() == 3


def test_a_full_portal_names_no_sandbox_of_others(
    web: Client, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SANDBOX_MAX_SITE", 1)
    launch(bob, name="secret-project")
    page = text(web.get("/"))
    assert "The portal is at capacity." in page
    assert "secret-project" not in page


def test_maintenance_mode_is_announced_and_rejects_launches(web: Client) -> None:
    until = clock.now() + timedelta(minutes=40)
    Maintenance.objects.create(until=until, message="More memory is put in.")
    page = text(web.get("/"))
    assert "Maintenance until" in page
    assert "More memory is put in." in page
    assert "More memory is put in." in text(web.post(reverse("launch"), {"key": "one"}))
    assert not Sandbox.objects.exists()


def test_queries_do_not_grow_with_the_number_of_cards(web: Client, alice: User) -> None:
    LimitOverride.objects.create(user=alice, max_active=6, reason="trial")
    actions.extend(launch(alice), 30, alice)
    request(alice)
    web.get("/")
    with CaptureQueriesContext(connection) as one:
        web.get("/")
    actions.extend(launch(alice), 30, alice)
    actions.destroy(launch(alice), alice)
    request(alice)
    with CaptureQueriesContext(connection) as several:
        web.get("/")
    assert len(several) <= len(one)
