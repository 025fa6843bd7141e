"""Links in mails: they ask before they act, act once, and say kindly what is so afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from django.core import mail
from django.db.models import F
from django.test import Client

from sandboxes import actions
from sandboxes.models import Preferences, Sandbox, SandboxWarning
from tests.helpers.scenarios import (
    again,
    launch,
    story,
    sweep,
)
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def linked(kind: str) -> str:
    """The path of the link of this kind in the last mail."""
    found = re.search(rf"http://127\.0\.0\.1:8000(/{kind}/\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]


@pytest.fixture
def expiring(alice: User, clock: Clock) -> Sandbox:
    """Its owner was just told by mail that its time is nearly up."""
    sandbox = launch(alice, ttl_minutes=15, name="checkout")
    clock.forward(minutes=11)
    sweep()
    return again(sandbox)


@pytest.fixture
def idle(alice: User, clock: Clock) -> Sandbox:
    sandbox = launch(alice, ttl_minutes=120, name="checkout")
    clock.forward(minutes=26)
    sweep()
    return again(sandbox)


@pytest.fixture
def stranger() -> Client:
    """Nobody is signed in, and no form's token is at hand."""
    return Client(enforce_csrf_checks=True)


def test_looking_does_nothing_however_often(expiring: Sandbox, stranger: Client) -> None:
    before = story(expiring)
    for _ in range(3):
        page = stranger.get(linked("keep"))
        assert page.status_code == 200
        assert "Extend checkout?" in text(page) and "Extend by 2 h" in text(page)
        assert stranger.head(linked("keep")).status_code in (200, 405)
    assert again(expiring).expires_at == expiring.expires_at
    assert story(expiring) == before


def test_one_click_extends_without_signing_in(expiring: Sandbox, stranger: Client) -> None:
    page = stranger.post(linked("keep"))
    assert page.status_code == 200
    assert "checkout will keep running" in text(page)
    now = again(expiring)
    assert now.expires_at and expiring.expires_at
    assert (now.expires_at - expiring.expires_at).total_seconds() == 120 * 60
    extended = now.events.filter(kind="extended").get()
    assert (extended.by, extended.actor) == ("owner", expiring.owner)


def test_one_click_keeps_an_idle_sandbox(idle: Sandbox, stranger: Client, clock: Clock) -> None:
    assert "Keep checkout alive?" in text(stranger.get(linked("keep")))
    assert "will keep running" in text(stranger.post(linked("keep")))
    now = again(idle)
    assert now.idle_expires_at and idle.idle_expires_at
    assert now.idle_expires_at > idle.idle_expires_at
    assert now.expires_at == idle.expires_at


def test_a_link_works_once(idle: Sandbox, stranger: Client, clock: Clock) -> None:
    stranger.post(linked("keep"))
    assert SandboxWarning.objects.get().used_at
    before = again(idle).last_activity_at
    clock.forward(minutes=1)
    for page in (stranger.post(linked("keep")), stranger.get(linked("keep"))):
        assert page.status_code == 410
        assert "already been used" in text(page) and "Current status: Stops at" in text(page)
    assert again(idle).last_activity_at == before


def test_after_an_extension_the_link_is_void_and_says_what_is_so(
    expiring: Sandbox, stranger: Client, alice: User
) -> None:
    actions.extend(expiring, 15, alice)
    after = again(expiring).expires_at
    for page in (stranger.get(linked("keep")), stranger.post(linked("keep"))):
        assert page.status_code == 410
        assert "no longer needs extending" in text(page)
        assert f"{again(expiring).ends_at:%H:%M} UTC" in text(page)
    assert again(expiring).expires_at == after


def test_with_the_deadline_the_link_is_over(
    expiring: Sandbox, stranger: Client, clock: Clock
) -> None:
    link = linked("keep")
    clock.forward(minutes=4)
    assert stranger.post(link).status_code == 410, "due, though no sweep came yet"
    sweep()
    page = stranger.post(link)
    assert page.status_code == 410
    assert "Too late" in text(page) and "Ended on" in text(page)
    assert "extended" not in story(expiring)


def test_of_a_destroyed_sandbox_the_link_is_over(
    expiring: Sandbox, stranger: Client, alice: User
) -> None:
    actions.destroy(expiring, alice)
    assert "Too late" in text(stranger.post(linked("keep")))


def test_of_a_closed_account_the_link_is_over(
    expiring: Sandbox, stranger: Client, alice: User
) -> None:
    alice.is_active = False
    alice.save()
    assert stranger.post(linked("keep")).status_code == 410


def test_a_link_that_was_tampered_with_does_nothing(
    expiring: Sandbox, idle: Sandbox, stranger: Client
) -> None:
    one, other = (SandboxWarning.objects.get(sandbox=row) for row in (expiring, idle))
    good = linked("keep").split("/")[2]
    number, _, signature = good.partition(":")
    wrong = [
        f"{one.pk}:{signature}" if number != str(one.pk) else f"{other.pk}:{signature}",
        f"{number}:{signature[:-1]}",
        f"{number}:",
        f"{number}",
        f"99999:{signature}",
        f"{'9' * 40}:{signature}",
        f"{number}:{signature}:{signature}",
        "x",
        "²:x",
    ]
    for token in wrong:
        page = stranger.post(f"/keep/{token}/")
        assert page.status_code == 404, token
        assert "Invalid link" in text(page)
    assert "extended" not in story(expiring) and "touched" not in story(idle)


@pytest.mark.parametrize("moved", ["clock", "deadline", "sandbox", "owner"])
def test_a_link_is_bound_to_what_it_was_made_for(
    expiring: Sandbox, stranger: Client, alice: User, bob: User, moved: str
) -> None:
    other = launch(bob, ttl_minutes=15)
    rows = SandboxWarning.objects.filter(sandbox=expiring)
    match moved:
        case "clock":
            rows.update(clock="idle", deadline=expiring.idle_expires_at)
        case "deadline":
            rows.update(deadline=other.expires_at)
        case "sandbox":
            rows.update(sandbox=other, deadline=other.expires_at)
        case "owner":
            Sandbox.objects.filter(pk=expiring.pk).update(owner=bob, slot=F("slot") + 10)
    assert stranger.post(linked("keep")).status_code == 404


def test_an_extension_that_is_used_up_leaves_no_link_but_to_the_portal(
    alice: User, clock: Clock
) -> None:
    sandbox = launch(alice, ttl_minutes=15)
    actions.extend(sandbox, 1, alice)
    clock.forward(minutes=12)
    sweep()
    body = str(mail.outbox[-1].body)
    assert "/keep/" not in body
    assert f"/sandboxes/{sandbox.public_id}/" in body
    assert "can't be extended" in body


def test_a_click_in_a_mail_program_unsubscribes_at_once(
    idle: Sandbox, stranger: Client, alice: User
) -> None:
    header = mail.outbox[-1].message()["List-Unsubscribe"]
    path = urlsplit(header.strip("<>")).path
    body = "List-Unsubscribe=One-Click"
    answer = stranger.post(path, body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200
    wishes = Preferences.for_user(alice)
    assert (wishes.mail_idle, wishes.mail_expiry) == (False, True)


def test_unsubscribing_asks_first_and_can_be_repeated(
    idle: Sandbox, stranger: Client, alice: User
) -> None:
    link = linked("unsubscribe")
    assert "Unsubscribe from idle warnings?" in text(stranger.get(link))
    assert Preferences.for_user(alice).mail_idle
    for _ in range(2):
        assert "Unsubscribed" in text(stranger.post(link))
    assert "Unsubscribed" in text(stranger.get(link))
    assert stranger.get(link[:-2] + "/").status_code == 404
    assert stranger.get("/unsubscribe/1.idle/").status_code == 404


def test_unsubscribing_from_one_persons_mails_leaves_the_others(
    idle: Sandbox, stranger: Client, alice: User, bob: User
) -> None:
    token = linked("unsubscribe").split("/")[2]
    forged = token.replace(f"{alice.pk}.", f"{bob.pk}.", 1)
    assert stranger.post(f"/unsubscribe/{forged}/").status_code == 404
    assert Preferences.for_user(bob).mail_idle


def test_pages_behind_links_are_not_kept_or_indexed(idle: Sandbox, stranger: Client) -> None:
    for kind in ("keep", "unsubscribe"):
        page = stranger.get(linked(kind))
        assert "no-store" in page["Cache-Control"]
        assert page["X-Robots-Tag"] == "noindex"
