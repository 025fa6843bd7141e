"""A sandbox's card: contents, polls, and actions."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.blueprints import load
from sandboxes.core import lifecycle
from sandboxes.lib import clock as the_clock
from sandboxes.models import Funding, Sandbox, State
from sandboxes.runtime import EngineRefused, EngineUnreachable
from sandboxes.worker import resets
from tests.helpers.scenarios import (
    event_kinds,
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
    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

LOOKS = ["sandbox", "card", "journal", "logs", "download-logs", "usage"]


def test_the_card_counts_down_the_chosen_lifetime(web: Client, alice: User, clock: Clock) -> None:
    sandbox = launch(alice, ttl_minutes=60)
    page = text(web.get("/"))
    assert "Running 1 h left" in page
    assert f"Expires at {sandbox.expires_at:%H:%M} UTC ." in page
    assert f"Stops at {sandbox.idle_expires_at:%H:%M} UTC if idle." in page

    actions.extend(sandbox, 60, alice)
    assert "Running 2 h left" in text(web.get("/"))

    clock.forward(minutes=26)
    page = text(web.get("/"))
    assert "Running 4:00 until idle timeout Stops at" in page
    assert "No recent requests. It will stop soon." in page


def test_a_new_card_opens_with_the_command_for_the_first_call(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    key, address = sandbox.secrets["API_KEY"], sandbox.addresses["api:8080"]
    for page in ("/", reverse("sandbox", args=[sandbox.public_id])):
        shown = unescape(web.get(page).content.decode())
        command = f"curl http://{address}/v1/plans \\\n  -H 'Authorization: Bearer {key}'"
        assert f'data-copy="{command}"' in shown
        assert f"<code>{command}</code>" in shown
    assert "credentials_read" not in event_kinds(sandbox)


@pytest.mark.parametrize("reading", ["credentials", "download-env"])
def test_a_card_no_longer_opens_with_the_key_once_credentials_were_read(
    web: Client, alice: User, reading: str
) -> None:
    sandbox = launch(alice)
    post(web, reading, sandbox)
    assert sandbox.secrets["API_KEY"] not in web.get("/").content.decode()


def test_credentials_replace_the_command_on_the_card(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    first = click(web, "credentials", sandbox).content.decode()
    again = click(web, "credentials", sandbox).content.decode()
    place = f'<div id="first-call-{sandbox.public_id}" hx-swap-oob="delete">'
    assert (place in first, place in again) == (True, False)


def test_a_sandbox_whose_key_was_lost_still_has_a_card(
    web: Client, alice: User, settings: Any
) -> None:
    launch(alice, name="checkout")
    settings.SANDBOX_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    page = text(web.get("/"))
    assert "checkout" in page
    assert "Make your first call" not in page


def test_cards_are_compact_from_the_second_on(web: Client, alice: User) -> None:
    older, newer = launch(alice, name="older"), launch(alice, name="newer")
    page = web.get("/").content.decode()
    assert (page.count("Stellar account"), page.count("<h3>Size</h3>")) == (1, 1)
    assert page.index("Stellar account") < page.index(f"card-{older.public_id}")
    assert page.count(f"http://{older.addresses['api:8080']}</a>") == 1
    assert newer.secrets["API_KEY"] in page
    assert older.secrets["API_KEY"] not in page


def test_a_poll_expands_the_card_that_becomes_the_first(web: Client, alice: User) -> None:
    older, newer = launch(alice), launch(alice)
    seen = web.get("/").context["live"][1].etag
    poll = reverse("card", args=[older.public_id])
    assert web.get(poll, {"etag": seen}, headers=HTMX).status_code == 204
    post(web, "destroy", newer)
    assert "Stellar account" in text(web.get(poll, {"etag": seen}, headers=HTMX))


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
    assert "sandboxes-changed" in response["HX-Trigger-After-Swap"]


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
    Sandbox.objects.update(last_activity_at=the_clock.now() - timedelta(minutes=27))
    assert "It will stop soon" in text(web.get("/"))
    ask(web, "touch", sandbox)
    assert "It will stop soon" not in text(web.get("/"))


@pytest.mark.parametrize("ask", [post, click])
def test_reset_and_destroy_require_confirmation_without_javascript(
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


def shown_resets(response: Any) -> list[str]:
    """Return the values that a page with this content sends with each request."""
    return re.findall('name="resetting" value="([^"]+)"', response.content.decode())


def test_a_poll_tells_when_a_reset_has_finished(web: Client, alice: User, clock: Clock) -> None:
    sandbox = launch(alice)
    actions.reset(sandbox, alice)
    assert shown_resets(web.get("/")) == [sandbox.public_id]
    clock.forward(seconds=0.6)
    resets.reset(reload(sandbox))
    address = reverse("card", args=[sandbox.public_id])
    done = web.get(address, {"etag": "old", "resetting": sandbox.public_id}, headers=HTMX)
    assert json.loads(done["HX-Trigger"])["toast"] == {"text": "Reset finished in 0.6 s."}
    assert "Reset data" in text(done)


def test_a_poll_tells_when_a_reset_has_failed(
    web: Client, alice: User, runtime: MemoryRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = launch(alice)
    monkeypatch.setattr(runtime, "recreate", Mock(side_effect=EngineRefused("no space left")))
    command = tuple(load("billing").reset.command_for("memory"))
    runtime.command_results[command] = (1, "")
    with run_on_commit():
        actions.reset(sandbox, alice)
    address = reverse("card", args=[sandbox.public_id])
    done = text(web.get(address, {"etag": "old", "resetting": sandbox.public_id}, headers=HTMX))
    assert "Couldn't reset the data: no space left" in unescape(done)


def test_a_page_that_shows_a_reset_is_told_by_any_request_until_a_response_arrives(
    web: Client, alice: User
) -> None:
    sandbox = launch(alice)
    web.post(reverse("reset", args=[sandbox.public_id]), headers=HTMX)
    resets.reset(reload(sandbox))
    shown = {"resetting": sandbox.public_id}
    poll = reverse("card", args=[sandbox.public_id])
    for _ in "lost", "arrived":
        assert "Reset finished in" in web.get(poll, shown, headers=HTMX)["HX-Trigger"]
    touch = reverse("touch", args=[sandbox.public_id])
    assert "Reset finished in" in text(web.post(touch, shown, headers=HTMX))
    launch(alice)
    assert "Reset finished in" in text(web.get(reverse("overview"), shown, headers=HTMX))
    assert "Reset finished in" not in text(web.get(reverse("overview"), headers=HTMX))
    assert "Reset finished in" not in text(web.get("/"))


def test_the_next_page_tells_when_a_reset_has_finished_whose_page_was_left(
    web: Client, alice: User
) -> None:
    sandbox = launch(alice)
    web.post(reverse("reset", args=[sandbox.public_id]), headers=HTMX)
    resets.reset(reload(sandbox))
    assert "Reset finished in" in text(web.get("/"))
    assert "Reset finished in" not in text(web.get("/"))


def test_the_response_to_a_reset_tells_if_the_worker_was_faster(
    web: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset_at_once(sandbox: Sandbox, actor: User) -> None:
        request_reset(sandbox, actor)
        resets.reset(reload(sandbox))

    sandbox, request_reset = launch(alice), actions.reset
    monkeypatch.setattr(actions, "reset", reset_at_once)
    address = reverse("reset", args=[sandbox.public_id])
    assert "Reset finished in" in text(web.post(address, headers=HTMX))


def test_without_javascript_the_next_page_tells_when_a_reset_has_finished(
    web: Client, alice: User
) -> None:
    sandbox = launch(alice)
    actions.reset(sandbox, alice)
    web.post(reverse("reset", args=[sandbox.public_id]))
    assert "Resetting data…" in text(web.get("/"))
    resets.reset(reload(sandbox))
    assert "Reset finished in" in text(web.get("/"))
    assert "Reset finished in" not in text(web.get("/"))


@pytest.mark.parametrize("ask", [post, click])
def test_a_launch_is_canceled_at_once(web: Client, alice: User, ask: Any) -> None:
    sandbox = request(alice)
    ask(web, "destroy", sandbox)
    assert reload(sandbox).end_reason == "user"


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
