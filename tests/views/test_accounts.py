"""Accounts, API tokens, and emails."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.accounts import api_tokens
from sandboxes.lib import clock
from sandboxes.models import ApiToken, DeadlineKind, Sandbox
from sandboxes.notifications import emails, sandbox_warnings
from tests.conftest import PASSWORD
from tests.helpers.blueprints import tiny, write
from tests.helpers.scenarios import launch, totp_code
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def create(web: Client, **data: str) -> str:
    """Create a token and return the page's text."""
    fields = {"name": "ci", "scope": "launch", "expires": "30"} | data
    return web.post(reverse("tokens"), fields).content.decode()


def warn(sandbox: Sandbox, deadline_kind: str) -> None:
    """Send the warning that a sweep would send before this deadline."""
    deadline = sandbox.idle_expires_at if deadline_kind == "idle" else sandbox.expires_at
    assert deadline
    warning = sandbox_warnings.record_warning(sandbox, DeadlineKind(deadline_kind), deadline)
    assert warning
    emails.send_warning(warning)


def test_signing_up_leads_to_the_dashboard(client: Client) -> None:
    who = {"email": "carol@example.com", "password1": PASSWORD}
    response = client.post(reverse("account_signup"), who, follow=True)
    assert response.redirect_chain[-1][0] == "/"
    assert "Your own copy of the API" in response.content.decode()


def test_users_sign_in_by_email(client: Client, alice: User) -> None:
    wrong = {"login": alice.email, "password": "wrong"}
    assert client.post(reverse("account_login"), wrong).status_code == 200
    right = {"login": alice.email, "password": PASSWORD}
    assert client.post(reverse("account_login"), right)["Location"] == "/"


def test_the_sign_in_page_describes_the_portal(client: Client) -> None:
    page = client.get(reverse("account_login")).content.decode()
    assert "A private copy of the API, running in seconds." in page


def test_the_sign_in_page_shows_a_call_with_a_key_and_the_answer_of_the_blueprint(
    client: Client,
) -> None:
    page = unescape(text(client.get(reverse("account_login"))))
    shown = page[page.index("$ curl") :]
    assert shown.startswith(
        "$ curl http://127.0.0.1:49153/v1/plans \\ -H 'Authorization: Bearer sk_test_…' "
        '{ "data" : [ { "name" : "Business Europe" , "amount" : "199.00" , … }, '
    )


def test_the_sign_in_page_of_a_blueprint_without_an_example_shows_no_call(
    client: Client, settings: Any, tmp_path: Path
) -> None:
    write(tmp_path, tiny())
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    settings.SANDBOX_DEFAULT_BLUEPRINT = "tiny"
    page = client.get(reverse("account_login")).content.decode()
    assert "A private copy of the API" in page
    assert "curl" not in page


def test_closed_signup_refers_to_the_administrator(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ACCOUNT_SIGNUP_OPEN", False)
    assert "Invitation required" in client.get(reverse("account_signup")).content.decode()


def test_a_forgotten_password_can_be_reset(client: Client, alice: User) -> None:
    client.post(reverse("account_reset_password"), {"email": alice.email})
    link = re.search(r"http://testserver(\S+)", str(mail.outbox[0].body))
    assert link
    page = client.get(link[1], follow=True)
    assert "Choose a new password" in page.content.decode()
    new = {"password1": "another horse", "password2": "another horse"}
    done = client.post(page.request["PATH_INFO"], new, follow=True)
    assert "Password changed" in done.content.decode()
    assert client.login(email=alice.email, password="another horse")
    used = client.get(link[1], follow=True)
    assert "This link has expired" in used.content.decode()


def test_a_token_is_shown_once_and_works(web: Client, alice: User) -> None:
    shown = re.search(r"sbp_\w{36}", create(web))
    assert shown
    token = api_tokens.authenticate(shown[0])
    assert token
    assert (token.user, token.name, token.scope) == (alice, "ci", "launch")
    assert token.expires_at
    assert abs(token.expires_at - clock.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert shown[0] not in web.get(reverse("tokens")).content.decode()


def test_the_form_offers_the_least_scope(web: Client) -> None:
    page = web.get(reverse("tokens"))
    assert page.context["form"]["scope"].value() == "read"


def test_a_token_may_never_expire(web: Client) -> None:
    assert "never expires" in create(web, expires="")
    assert ApiToken.objects.get().expires_at is None


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("name", "", "This field is required."),
        ("name", "x" * 61, "Ensure this value has at most 60 characters"),
        ("scope", "root", "Select a valid choice."),
        ("expires", "99999", "Select a valid choice."),
    ],
)
def test_an_invalid_form_creates_no_token(web: Client, field: str, value: str, remedy: str) -> None:
    assert remedy in create(web, **{field: value})
    assert not ApiToken.objects.exists()


def test_a_revoked_token_is_rejected(web: Client, alice: User) -> None:
    row, text = api_tokens.issue(alice, "old laptop")
    address = reverse("revoke-token", args=[row.pk])
    assert "Revoke old laptop?" in web.get(address).content.decode()
    assert api_tokens.authenticate(text)
    page = web.post(address, follow=True).content.decode()
    assert "Token old laptop revoked." in page
    assert api_tokens.authenticate(text) is None
    assert web.post(address).status_code == 404


def test_the_list_separates_active_and_expired_tokens(web: Client, alice: User) -> None:
    now = clock.now()
    api_tokens.issue(alice, "fresh", expires_at=now + timedelta(days=30))
    api_tokens.issue(alice, "ending", expires_at=now + timedelta(days=6))
    api_tokens.issue(alice, "over", expires_at=now - timedelta(days=1))
    page = web.get(reverse("tokens"))
    assert [token.name for token in page.context["usable"]] == ["ending", "fresh"]
    assert [token.name for token in page.context["spent"]] == ["over"]
    assert page.content.decode().count("Expires soon") == 1


def test_tokens_of_other_users_are_not_found(web: Client, bob: User) -> None:
    row, text = api_tokens.issue(bob, "bob's")
    address = reverse("revoke-token", args=[row.pk])
    assert {web.get(address).status_code, web.post(address).status_code} == {404}
    assert "bob" not in web.get(reverse("tokens")).content.decode()
    assert api_tokens.authenticate(text)


def test_a_warning_email_contains_instructions_and_links(alice: User) -> None:
    sandbox = launch(alice, name="R&D")
    assert sandbox.idle_expires_at and sandbox.expires_at
    expires = f"{sandbox.expires_at:%H:%M}"
    for name in ("idle", "expired"):
        warn(sandbox, name)
    actions.extend(sandbox, 30, alice)
    warn(sandbox, "expired")
    idle, expired, extended = mail.outbox
    assert idle.subject == f"“R&D” stops at {sandbox.idle_expires_at:%H:%M} UTC unless it's used"
    assert expired.subject == f"“R&D” expires at {expires} UTC"
    assert f"{sandbox.idle_expires_at:%H:%M} UTC" in idle.body
    assert "open this link to keep it running" in idle.body
    assert "You can extend it once" in expired.body
    assert "Save anything you need" in extended.body
    assert all(f"{settings.SITE_URL}/" in letter.body for letter in mail.outbox)
    assert all("&amp;" not in letter.body for letter in mail.outbox)
    lines = [line for letter in mail.outbox for line in letter.body.splitlines()]
    assert max(len(line) for line in lines if not line.startswith("http")) < 85


def test_two_factor_authentication_is_set_up_and_required(client: Client, alice: User) -> None:
    who = {"login": alice.email, "password": PASSWORD}
    client.post(reverse("account_login"), who)
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    page = client.get(reverse("mfa_activate_totp"))
    answer = {"code": totp_code(page.context["form"].secret)}
    page = client.post(reverse("mfa_activate_totp"), answer, follow=True)
    codes = re.findall(r"\b\d{8}\b", page.content.decode())
    assert len(codes) == 10
    client.post(reverse("account_logout"))
    asked = client.post(reverse("account_login"), who, follow=True)
    assert "Enter the code from your authenticator app" in asked.content.decode()
    assert client.get("/").status_code == 302
