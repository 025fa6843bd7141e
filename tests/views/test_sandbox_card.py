"""A sandbox's card: contents, polls, and actions."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.core import lifecycle
from sandboxes.lib import clock
from sandboxes.models import Funding, Sandbox, State
from sandboxes.runtime import EngineUnreachable
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    run_on_commit,
)
from tests.helpers.web import (
    HTMX,
    click,
    post,
    text,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

LOOKS = ["sandbox", "card", "journal", "logs", "download-logs", "usage"]


def test_the_card_shows_the_next_deadline(web: Client, alice: User) -> None:
    sandbox = launch(alice, name="checkout")
    assert sandbox.ends_at and sandbox.expires_at
    ends, latest = (f"{at:%H:%M} UTC" for at in (sandbox.ends_at, sandbox.expires_at))
    page = text(web.get("/"))
    assert f"Stops at {ends} if idle; expires at {latest}" in page


def test_launch_steps_are_shown(web: Client, alice: User) -> None:
    sandbox = request(alice)
    lifecycle.start_provisioning(sandbox)
    page = text(web.get("/"))
    assert "Provisioning" in page
    assert "Create network : waiting" in page


def test_an_unchanged_poll_returns_204(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    seen = web.get("/").context["live"][0].etag
    address = reverse("card", args=[sandbox.public_id])
    assert web.get(address, {"etag": seen}, headers=HTMX).status_code == 204


def test_a_poll_returns_the_live_parts(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    seen = web.get("/").context["live"][0].etag
    Sandbox.objects.update(funding=Funding.FUNDED)
    address = reverse("card", args=[sandbox.public_id])
    response = web.get(address, {"etag": seen}, headers=HTMX)
    assert response["HX-Reswap"] == "none"
    assert "Funded" in text(response)
    assert "Show credentials" not in text(response)


def test_a_poll_returns_the_card_after_a_state_change(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    seen = web.get("/").context["live"][0].etag
    with run_on_commit():
        actions.destroy(sandbox, alice)
    address = reverse("card", args=[sandbox.public_id])
    response = web.get(address, {"etag": seen}, headers=HTMX)
    assert "Destroyed by its owner" in text(response)
    assert "sandboxes-changed" in response["HX-Trigger"]


def test_viewing_pages_is_not_activity(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    for name in LOOKS:
        web.get(reverse(name, args=[sandbox.public_id]))
    web.get("/")
    assert reload(sandbox).last_activity_at == sandbox.last_activity_at


def test_an_unchanged_summary_returns_204(web: Client, alice: User) -> None:
    seen = web.get("/").context["summary"].etag
    assert web.get(reverse("overview"), {"etag": seen}, headers=HTMX).status_code == 204
    launch(alice, name="from-a-script")
    response = web.get(reverse("overview"), {"etag": seen}, headers=HTMX)
    assert "from-a-script" in text(response)


@pytest.mark.parametrize("ask", [post, click])
def test_extend_adds_the_offered_minutes(web: Client, alice: User, ask: Any) -> None:
    sandbox = launch(alice)
    offer = web.get("/").context["live"][0].extension_options[1]
    response = ask(web, "extend", sandbox, minutes=offer.minutes)
    assert reload(sandbox).expires_at == offer.until
    assert "Already extended" in text(response)


def test_offered_extensions_respect_the_cap(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    assert sandbox.expires_at
    cap = sandbox.expires_at + timedelta(minutes=45)
    Sandbox.objects.update(hard_cap_at=cap)
    page = web.get("/")
    offers = page.context["live"][0].extension_options
    assert [(offer.minutes, offer.capped) for offer in offers] == [(30, False), (45, True)]
    assert f"until {cap:%H:%M} UTC (maximum)" in text(page)


@pytest.mark.parametrize("ask", [post, click])
@pytest.mark.parametrize("minutes", ["0", "121", "many", "", "²", "9" * 5000])
def test_an_invalid_extension_is_rejected_on_the_card(
    web: Client, alice: User, ask: Any, minutes: str
) -> None:
    sandbox = launch(alice)
    assert "Extend by 1 to 120 minutes." in text(ask(web, "extend", sandbox, minutes=minutes))
    assert reload(sandbox).expires_at == sandbox.expires_at


@pytest.mark.parametrize("ask", [post, click])
def test_keep_alive_resets_the_idle_timer(web: Client, alice: User, ask: Any) -> None:
    sandbox = launch(alice)
    Sandbox.objects.update(last_activity_at=clock.now() - timedelta(minutes=27))
    assert "It will stop soon" in text(web.get("/"))
    ask(web, "touch", sandbox)
    assert "It will stop soon" not in text(web.get("/"))


@pytest.mark.parametrize("ask", [post, click])
def test_reset_and_destroy_require_confirmation(
    web: Client, alice: User, ask: Any, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    for name in ("reset", "destroy"):
        asked = web.get(reverse(name, args=[sandbox.public_id]))
        assert "Cancel" in text(asked)
    assert reload(sandbox).state == State.RUNNING
    ask(web, "reset", sandbox)
    assert runtime.executed[0][0] == sandbox.public_id
    ask(web, "destroy", sandbox)
    assert reload(sandbox).state == State.DESTROYED


@pytest.mark.parametrize("ask", [post, click])
@pytest.mark.parametrize("name", ["extend", "touch", "reset", "retry-funding"])
def test_actions_for_another_state_are_rejected(
    web: Client, alice: User, ask: Any, name: str
) -> None:
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    assert re.search("Only a running sandbox|has ended", text(ask(web, name, sandbox, minutes=5)))


def test_funding_can_be_retried(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    Sandbox.objects.update(funding=Funding.FAILED, funding_error="no such network")
    page = text(web.get("/"))
    assert "Funding failed Retry funding no such network" in page
    click(web, "retry-funding", sandbox)
    assert reload(sandbox).funding == Funding.PENDING


def test_actions_on_the_sandbox_page_return_to_it(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    own = reverse("sandbox", args=[sandbox.public_id])
    touch = reverse("touch", args=[sandbox.public_id])
    headers = {"Referer": f"http://testserver{own}"}
    assert web.post(touch, headers=headers)["Location"] == own
    elsewhere = {"Referer": "https://elsewhere.example/"}
    assert web.post(touch, headers=elsewhere)["Location"].startswith("/#card-")


def test_a_failed_removal_is_shown(web: Client, alice: User, runtime: MemoryRuntime) -> None:
    sandbox = launch(alice)
    runtime.fail_next("destroy", EngineUnreachable("The engine did not answer."))
    post(web, "destroy", sandbox)
    assert "Removal failed; retrying: The engine did not answer." in text(web.get("/"))
