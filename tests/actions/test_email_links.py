"""Links in emails: they ask for confirmation, work once, and show the current status afterwards."""

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
    event_kinds,
    launch,
    reload,
    sweep,
)
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def link_path(kind: str) -> str:
    """Return the path of the link of this kind in the last email."""
    found = re.search(rf"http://127\.0\.0\.1:8000(/{kind}/\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]


@pytest.fixture
def expiring_sandbox(alice: User, clock: Clock) -> Sandbox:
    """Return a sandbox whose owner has just been emailed that it expires soon."""
    sandbox = launch(alice, ttl_minutes=15, name="checkout")
    clock.forward(minutes=11)
    sweep()
    return reload(sandbox)


@pytest.fixture
def idle_sandbox(alice: User, clock: Clock) -> Sandbox:
    sandbox = launch(alice, ttl_minutes=120, name="checkout")
    clock.forward(minutes=26)
    sweep()
    return reload(sandbox)


@pytest.fixture
def anonymous() -> Client:
    """Return a client that isn't signed in and has no CSRF token."""
    return Client(enforce_csrf_checks=True)


def test_opening_a_link_changes_nothing(expiring_sandbox: Sandbox, anonymous: Client) -> None:
    before = event_kinds(expiring_sandbox)
    for _ in range(3):
        page = anonymous.get(link_path("keep"))
        assert page.status_code == 200
        assert "Extend checkout?" in text(page) and "Extend by 2 h" in text(page)
        assert anonymous.head(link_path("keep")).status_code in (200, 405)
    assert reload(expiring_sandbox).expires_at == expiring_sandbox.expires_at
    assert event_kinds(expiring_sandbox) == before


def test_a_click_extends_without_signing_in(expiring_sandbox: Sandbox, anonymous: Client) -> None:
    page = anonymous.post(link_path("keep"))
    assert page.status_code == 200
    assert "checkout will keep running" in text(page)
    now = reload(expiring_sandbox)
    assert now.expires_at and expiring_sandbox.expires_at
    assert (now.expires_at - expiring_sandbox.expires_at).total_seconds() == 120 * 60
    extended = now.events.filter(kind="extended").get()
    assert (extended.actor_role, extended.actor) == ("owner", expiring_sandbox.owner)


def test_a_click_keeps_an_idle_sandbox_alive(
    idle_sandbox: Sandbox, anonymous: Client, clock: Clock
) -> None:
    assert "Keep checkout alive?" in text(anonymous.get(link_path("keep")))
    assert "will keep running" in text(anonymous.post(link_path("keep")))
    now = reload(idle_sandbox)
    assert now.idle_expires_at and idle_sandbox.idle_expires_at
    assert now.idle_expires_at > idle_sandbox.idle_expires_at
    assert now.expires_at == idle_sandbox.expires_at


def test_a_link_works_once(idle_sandbox: Sandbox, anonymous: Client, clock: Clock) -> None:
    anonymous.post(link_path("keep"))
    assert SandboxWarning.objects.get().link_used_at
    before = reload(idle_sandbox).last_activity_at
    clock.forward(minutes=1)
    for page in (anonymous.post(link_path("keep")), anonymous.get(link_path("keep"))):
        assert page.status_code == 410
        assert "already been used" in text(page) and "Current status: Expires at" in text(page)
    assert reload(idle_sandbox).last_activity_at == before


def test_after_an_extension_the_link_is_void_and_shows_the_current_status(
    expiring_sandbox: Sandbox, anonymous: Client, alice: User
) -> None:
    actions.extend(expiring_sandbox, 15, alice)
    after = reload(expiring_sandbox).expires_at
    for page in (anonymous.get(link_path("keep")), anonymous.post(link_path("keep"))):
        assert page.status_code == 410
        assert "no longer needs extending" in text(page)
        assert f"{reload(expiring_sandbox).ends_at:%H:%M} UTC" in text(page)
    assert reload(expiring_sandbox).expires_at == after


def test_a_link_expires_with_its_deadline(
    expiring_sandbox: Sandbox, anonymous: Client, clock: Clock
) -> None:
    link = link_path("keep")
    clock.forward(minutes=4)
    assert anonymous.post(link).status_code == 410, "due, though no sweep came yet"
    sweep()
    page = anonymous.post(link)
    assert page.status_code == 410
    assert "Too late" in text(page) and "Ended on" in text(page)
    assert "extended" not in event_kinds(expiring_sandbox)


def test_a_link_of_a_destroyed_sandbox_has_expired(
    expiring_sandbox: Sandbox, anonymous: Client, alice: User
) -> None:
    actions.destroy(expiring_sandbox, alice)
    assert "Too late" in text(anonymous.post(link_path("keep")))


def test_a_link_of_a_suspended_account_has_expired(
    expiring_sandbox: Sandbox, anonymous: Client, alice: User
) -> None:
    alice.is_active = False
    alice.save()
    assert anonymous.post(link_path("keep")).status_code == 410


def test_a_tampered_link_does_nothing(
    expiring_sandbox: Sandbox, idle_sandbox: Sandbox, anonymous: Client
) -> None:
    one, other = (
        SandboxWarning.objects.get(sandbox=row) for row in (expiring_sandbox, idle_sandbox)
    )
    good = link_path("keep").split("/")[2]
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
        page = anonymous.post(f"/keep/{token}/")
        assert page.status_code == 404, token
        assert "Invalid link" in text(page)
    assert "extended" not in event_kinds(expiring_sandbox) and "touched" not in event_kinds(
        idle_sandbox
    )


@pytest.mark.parametrize("moved", ["deadline_kind", "deadline", "sandbox", "owner"])
def test_a_link_is_valid_only_for_its_purpose(
    expiring_sandbox: Sandbox, anonymous: Client, alice: User, bob: User, moved: str
) -> None:
    other = launch(bob, ttl_minutes=15)
    rows = SandboxWarning.objects.filter(sandbox=expiring_sandbox)
    match moved:
        case "deadline_kind":
            rows.update(deadline_kind="idle", deadline=expiring_sandbox.idle_expires_at)
        case "deadline":
            rows.update(deadline=other.expires_at)
        case "sandbox":
            rows.update(sandbox=other, deadline=other.expires_at)
        case "owner":
            Sandbox.objects.filter(pk=expiring_sandbox.pk).update(owner=bob, slot=F("slot") + 10)
    assert anonymous.post(link_path("keep")).status_code == 404


def test_a_warning_email_has_no_keep_alive_link_when_the_extension_is_used(
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


def test_one_click_unsubscribe_of_mail_programs_works(
    idle_sandbox: Sandbox, anonymous: Client, alice: User
) -> None:
    header = mail.outbox[-1].message()["List-Unsubscribe"]
    path = urlsplit(header.strip("<>")).path
    body = "List-Unsubscribe=One-Click"
    answer = anonymous.post(path, body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200
    wishes = Preferences.for_user(alice)
    assert (wishes.mail_idle, wishes.mail_expiry) == (False, True)


def test_unsubscribing_asks_for_confirmation_and_can_be_repeated(
    idle_sandbox: Sandbox, anonymous: Client, alice: User
) -> None:
    link = link_path("unsubscribe")
    assert "Unsubscribe from idle warnings?" in text(anonymous.get(link))
    assert Preferences.for_user(alice).mail_idle
    for _ in range(2):
        assert "Unsubscribed" in text(anonymous.post(link))
    assert "Unsubscribed" in text(anonymous.get(link))
    assert anonymous.get(link[:-2] + "/").status_code == 404
    assert anonymous.get("/unsubscribe/1.idle/").status_code == 404


def test_unsubscribing_affects_only_one_user(
    idle_sandbox: Sandbox, anonymous: Client, alice: User, bob: User
) -> None:
    token = link_path("unsubscribe").split("/")[2]
    forged = token.replace(f"{alice.pk}.", f"{bob.pk}.", 1)
    assert anonymous.post(f"/unsubscribe/{forged}/").status_code == 404
    assert Preferences.for_user(bob).mail_idle


def test_pages_of_email_links_are_not_cached_or_indexed(
    idle_sandbox: Sandbox, anonymous: Client
) -> None:
    for kind in ("keep", "unsubscribe"):
        page = anonymous.get(link_path(kind))
        assert "no-store" in page["Cache-Control"]
        assert page["X-Robots-Tag"] == "noindex"
