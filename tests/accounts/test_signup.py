"""Sign-up: allowed domains, invitations, and sign-in providers."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from sandboxes.checks import accounts as checks_accounts
from sandboxes.lib import clock
from sandboxes.models import AccountMail, AuditEntry, Invitation
from sandboxes.reaper.housekeeping import requeue_notifications
from tests.fakes.oauth_provider import SECRET
from tests.helpers.admin import page_of, run_action
from tests.helpers.scenarios import run_on_commit
from tests.helpers.sign_in import PROVIDER_LOGINS, sign_in_with_provider, sign_up

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from tests.conftest import Clock
    from tests.fakes.oauth_provider import Provider

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

SMTP = "django.core.mail.backends.smtp.EmailBackend"
INVITE = "/admin/sandboxes/invitation/add/"
INVITATIONS = "/admin/sandboxes/invitation/"


def invite(admin_client: Client, email: str, reason: str = "Partner.") -> str:
    """Invite this address as an operator and return the page."""
    until = clock.now() + timedelta(days=7)
    data = {"email": email, "reason": reason}
    data |= {"expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": f"{until:%H:%M:%S}"}
    with run_on_commit():
        return admin_client.post(INVITE, data, follow=True).content.decode()


def link_in(letter: Any) -> str:
    """Return the path of the invitation link in the email."""
    found = re.search(r"http://\S+?(/invitations/\S+)", letter.body)
    assert found
    return found[1]


@pytest.fixture
def domains(settings: SettingsWrapper) -> SettingsWrapper:
    settings.ACCOUNT_SIGNUP_DOMAINS = "example.com, @Example.org"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    return settings


@pytest.fixture
def invite_only(settings: SettingsWrapper) -> SettingsWrapper:
    settings.ACCOUNT_SIGNUP_OPEN = False
    return settings


def test_without_the_mail_server_sign_up_works_and_the_link_arrives_later(
    client: Client, settings: SettingsWrapper, clock: Clock
) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    works, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, SMTP
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert "Check your email" in sign_up(client, "carol@example.com")
    clock.forward(minutes=2)
    with run_on_commit():
        requeue_notifications()
    assert "carol@example.com" not in _stored_content(), "a link in it gives access"

    settings.EMAIL_BACKEND = works
    clock.forward(minutes=2)
    with run_on_commit():
        requeue_notifications()
    [letter] = mail.outbox
    assert letter.to == ["carol@example.com"]
    [link] = re.findall(r"http://\S+?(/accounts/confirm-email/\S+)", letter.body)
    assert client.get(link).status_code == 200
    assert not AccountMail.objects.exists()


def _stored_content() -> str:
    """Return what the database has of the one email that waits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT content FROM sandboxes_accountmail")
        [[content]] = cursor.fetchall()
    return str(content)


@pytest.mark.parametrize("email", ["carol@example.com", "Carol@EXAMPLE.ORG"])
def test_addresses_of_allowed_domains_can_sign_up(client: Client, domains, email: str) -> None:
    assert "Check your email" in sign_up(client, email)
    assert User.objects.get().email == email.lower()


@pytest.mark.parametrize("email", ["eve@evil.com", "eve@notexample.com", "eve@sub.example.com"])
def test_other_addresses_are_rejected_with_the_sign_up_rules(
    client: Client, domains, email: str
) -> None:
    page = sign_up(client, email)
    assert "Sign-up is limited to example.com, example.org addresses" in page
    assert not User.objects.exists()


def test_an_address_of_another_domain_cannot_be_added_to_an_account(web, alice, domains) -> None:
    add = {"email": "alice@elsewhere.net", "action_add": ""}
    page = web.post(reverse("account_email"), add, follow=True).content.decode()
    assert "Sign-up is limited to" in page
    assert not EmailAddress.objects.filter(email="alice@elsewhere.net").exists()


def test_an_invited_user_can_sign_up_when_sign_up_is_closed(
    client: Client, admin_client, invite_only
) -> None:
    invite(admin_client, "Dave@partner.net")
    stranger, dave = Client(), Client()
    page = dave.get(link_in(mail.outbox[0]), follow=True).content.decode()

    assert 'value="dave@partner.net"' in page
    assert "Invitation required" in stranger.get(reverse("account_signup")).content.decode()
    assert "Your own copy of the API" in sign_up(dave, "dave@partner.net")
    user = User.objects.get(email="dave@partner.net")
    assert Invitation.objects.get().accepted_by == user
    assert EmailAddress.objects.get(user=user).verified


def test_opening_the_invitation_link_verifies_the_address(admin_client, domains) -> None:
    invite(admin_client, "dave@partner.net")
    dave = Client()
    dave.get(link_in(mail.outbox[0]))
    assert "Your own copy of the API" in sign_up(dave, "dave@partner.net")


def test_an_invitation_is_valid_only_for_its_address(admin_client, invite_only) -> None:
    invite(admin_client, "dave@partner.net")
    eve = Client()
    eve.get(link_in(mail.outbox[0]))
    assert "This invitation is for dave@partner.net" in sign_up(eve, "eve@partner.net")
    assert not User.objects.filter(email__startswith="eve").exists()


def test_an_invitation_is_used_up_by_the_account_and_not_by_opening_the_link(
    admin_client, invite_only
) -> None:
    invite(admin_client, "dave@partner.net")
    link = link_in(mail.outbox[0])
    scanner, dave = Client(), Client()
    scanner.get(link, follow=True)
    dave.get(link)
    sign_up(dave, "dave@partner.net")

    late = scanner.get(link)
    assert (late.status_code, "Invitation no longer valid" in late.content.decode()) == (410, True)
    assert "Invitation required" in scanner.get(reverse("account_signup")).content.decode()


@pytest.mark.parametrize("reason", ["expired", "withdrawn", "forged"])
def test_an_invalid_invitation_link_is_gone(admin_client, invite_only, clock, reason: str) -> None:
    invite(admin_client, "dave@partner.net")
    link = link_in(mail.outbox[0])
    if reason == "expired":
        clock.forward(days=8)
    if reason == "withdrawn":
        run_action(admin_client, "withdraw", Invitation.objects.get(), reason="A mistake.")
    link = link[:-3] + "x/" if reason == "forged" else link
    assert Client().get(link).status_code == 410


@pytest.mark.parametrize(
    ("email", "remedy"),
    [
        ("alice@example.com", "already an account with this address"),
        ("dave@partner.net", "Send it again instead"),
        ("dave", "Enter a valid email address"),
    ],
)
def test_invalid_invitations_are_rejected_with_a_remedy(
    admin_client, alice, email: str, remedy: str
) -> None:
    invite(admin_client, "dave@partner.net")
    assert remedy in invite(admin_client, email)
    assert len(mail.outbox) == 1


def test_an_expired_invitation_can_be_replaced(admin_client, clock) -> None:
    invite(admin_client, "dave@partner.net")
    clock.forward(days=8)
    invite(admin_client, "dave@partner.net")
    assert Invitation.objects.count() == 1
    assert len(mail.outbox) == 2


def test_resending_an_invitation_is_audited(admin_client) -> None:
    invite(admin_client, "dave@partner.net")
    run_action(admin_client, "send", Invitation.objects.get(), reason="It was among the spam.")
    assert [letter.to for letter in mail.outbox] == [["dave@partner.net"]] * 2
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "add",
        "send",
    ]


def test_no_admin_page_shows_the_invitation_link(admin_client) -> None:
    invite(admin_client, "dave@partner.net")
    signed = link_in(mail.outbox[0]).split("/")[2]
    row = Invitation.objects.get()
    for page in (INVITATIONS, page_of(row), "/admin/sandboxes/auditentry/"):
        assert signed not in admin_client.get(page).content.decode()


def test_an_invitation_link_redirects_signed_in_users_to_the_dashboard(web, admin_client) -> None:
    invite(admin_client, "dave@partner.net")
    page = web.get(link_in(mail.outbox[0]), follow=True)
    assert page.redirect_chain[-1][0] == "/"


@pytest.mark.parametrize("path", PROVIDER_LOGINS)
def test_signing_in_with_a_provider_creates_an_account(client, provider, path) -> None:
    page = sign_in_with_provider(client, path)
    assert "Your own copy of the API" in page.content.decode()
    assert EmailAddress.objects.get(email="carol@example.com").verified
    again = sign_in_with_provider(Client(), path)
    assert again.redirect_chain[-1][0] == "/"
    assert User.objects.count() == 1


@pytest.mark.parametrize("path", PROVIDER_LOGINS)
def test_a_provider_signs_in_to_the_account_with_the_same_verified_address(
    client, provider: Provider, alice, path
) -> None:
    provider.person["email"] = alice.email
    sign_in_with_provider(client, path)
    assert SocialAccount.objects.get().user == alice
    assert client.session["_auth_user_id"] == str(alice.pk)


@pytest.mark.parametrize("path", PROVIDER_LOGINS)
def test_an_unverified_provider_address_does_not_sign_in_to_an_existing_account(
    client, provider: Provider, alice, path
) -> None:
    provider.person |= {"email": alice.email, "email_verified": False}
    sign_in_with_provider(client, path)
    assert "_auth_user_id" not in client.session
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("path", PROVIDER_LOGINS)
def test_allowed_domains_apply_to_provider_sign_ups(client, provider, domains, path) -> None:
    provider.person["email"] = "eve@evil.com"
    page = sign_in_with_provider(client, path)
    assert "Invitation required" in page.content.decode()
    assert not User.objects.exists()


def test_invitations_apply_to_provider_sign_ups(
    client, admin_client, provider, invite_only
) -> None:
    sign_in_with_provider(stranger := Client(), PROVIDER_LOGINS[0])
    assert "_auth_user_id" not in stranger.session
    invite(admin_client, "carol@example.com")
    invited = Client()
    invited.get(link_in(mail.outbox[0]))
    sign_in_with_provider(invited, PROVIDER_LOGINS[0])
    assert Invitation.objects.get().accepted_by == User.objects.get(email="carol@example.com")


def test_a_failing_provider_shows_an_error_page_without_secrets(client, provider: Provider) -> None:
    provider.broken = True
    page = sign_in_with_provider(client, PROVIDER_LOGINS[0])
    assert "Sign-in failed" in page.content.decode()
    assert SECRET not in page.content.decode()


def test_provider_sign_in_asks_for_confirmation(client, provider) -> None:
    page = client.get(PROVIDER_LOGINS[0])
    assert "Sign in with Example Inc.?" in page.content.decode()


def test_sign_in_pages_offer_no_provider_unless_one_is_set_up(client, settings) -> None:
    page = client.get(reverse("account_login")).content.decode()
    assert "Continue with" not in page


def test_sign_in_pages_list_each_provider(client, provider) -> None:
    for name in ("account_login", "account_signup"):
        page = client.get(reverse(name)).content.decode()
        assert "Continue with Example Inc." in page
        assert "Continue with GitHub" in page


def test_a_provider_can_be_connected_and_disconnected(web, provider, alice) -> None:
    sign_in_with_provider(web, f"{PROVIDER_LOGINS[1]}?process=connect")
    row = SocialAccount.objects.get(user=alice)
    page = web.get(reverse("socialaccount_connections")).content.decode()
    assert "Disconnect" in page
    web.post(reverse("socialaccount_connections"), {"account": row.pk})
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize(
    ("values", "message_part"),
    [
        ({"ACCOUNT_SIGNUP_DOMAINS": "example.com"}, "has no effect"),
        ({"ACCOUNT_SIGNUP_DOMAINS": "https://example.com/"}, "isn't a domain"),
        ({"GITHUB_CLIENT_ID": "abc"}, "GITHUB_CLIENT_SECRET isn't"),
        ({"OIDC_CLIENT_ID": "abc", "OIDC_CLIENT_SECRET": "x"}, "OIDC_SERVER_URL isn't"),
        ({"HTTPS": True}, "a password alone gives access to the admin"),
    ],
)
def test_incomplete_settings_are_reported_by_system_checks(settings, values, message_part) -> None:
    assert checks_accounts.check_accounts() == []
    for name, value in values.items():
        setattr(settings, name, value)
    assert message_part in " ".join(message.msg for message in checks_accounts.check_accounts())
