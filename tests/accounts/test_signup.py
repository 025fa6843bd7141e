"""Who may have an account: by a domain, by an invitation, from a provider of sign-ins."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse

from sandboxes.checks import accounts as checks_accounts
from sandboxes.lib import clock
from sandboxes.models import AuditEntry, Invitation
from tests.conftest import PASSWORD
from tests.fakes.oauth_provider import SECRET
from tests.helpers.admin import ask, page_of
from tests.helpers.scenarios import committed

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from tests.fakes.oauth_provider import Provider

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

INVITE = "/admin/sandboxes/invitation/add/"
INVITATIONS = "/admin/sandboxes/invitation/"


def sign_up(client: Client, email: str) -> str:
    """What the page says to somebody who signs up with this address."""
    data = {"email": email, "password1": PASSWORD}
    return client.post(reverse("account_signup"), data, follow=True).content.decode()


def invite(desk: Client, email: str, reason: str = "Partner.") -> str:
    """What the page says to an operator who invites this address."""
    until = clock.now() + timedelta(days=7)
    data = {"email": email, "reason": reason}
    data |= {"expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": f"{until:%H:%M:%S}"}
    with committed():
        return desk.post(INVITE, data, follow=True).content.decode()


def link_in(letter: Any) -> str:
    """The path of the link in a mail."""
    found = re.search(r"http://\S+?(/invitations/\S+)", letter.body)
    assert found
    return found[1]


def come_back(client: Client, path: str) -> Any:
    """Follow a provider's sign-in by hand, as a browser does: our page, theirs, and back here."""
    import httpx

    page = client.post(path).content.decode()
    away = re.search(r'url=([^"]+)"', page)
    assert away, page
    answer = httpx.get(away[1].replace("&amp;", "&"))
    back = answer.headers["Location"]
    return client.get(back.replace("http://testserver", ""), follow=True)


@pytest.fixture
def domains(settings: SettingsWrapper) -> SettingsWrapper:
    settings.ACCOUNT_SIGNUP_DOMAINS = "example.com, @Example.org"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    return settings


@pytest.fixture
def closed(settings: SettingsWrapper) -> SettingsWrapper:
    settings.ACCOUNT_SIGNUP_OPEN = False
    return settings


@pytest.mark.parametrize("email", ["carol@example.com", "Carol@EXAMPLE.ORG"])
def test_addresses_of_the_domains_may_sign_up(client: Client, domains, email: str) -> None:
    assert "Check your email" in sign_up(client, email)
    assert User.objects.get().email == email.lower()


@pytest.mark.parametrize("email", ["eve@evil.com", "eve@notexample.com", "eve@sub.example.com"])
def test_other_addresses_are_told_which_may(client: Client, domains, email: str) -> None:
    page = sign_up(client, email)
    assert "Accounts here are for addresses of example.com, example.org" in page
    assert not User.objects.exists()


def test_nobody_brings_an_address_of_elsewhere_into_their_account(web, alice, domains) -> None:
    add = {"email": "alice@elsewhere.net", "action_add": ""}
    page = web.post(reverse("account_email"), add, follow=True).content.decode()
    assert "Accounts here are for addresses of" in page
    assert not EmailAddress.objects.filter(email="alice@elsewhere.net").exists()


def test_who_is_invited_signs_up_though_nobody_may(client: Client, desk, closed) -> None:
    invite(desk, "Dave@partner.net")
    stranger, dave = Client(), Client()
    page = dave.get(link_in(mail.outbox[0]), follow=True).content.decode()

    assert 'value="dave@partner.net"' in page
    assert "Invitation required" in stranger.get(reverse("account_signup")).content.decode()
    assert "Your own copy of the API" in sign_up(dave, "dave@partner.net")
    user = User.objects.get(email="dave@partner.net")
    assert Invitation.objects.get().accepted_by == user
    assert EmailAddress.objects.get(user=user).verified


def test_the_invitations_link_proves_the_address(desk, domains) -> None:
    invite(desk, "dave@partner.net")
    dave = Client()
    dave.get(link_in(mail.outbox[0]))
    assert "Your own copy of the API" in sign_up(dave, "dave@partner.net")


def test_an_invitation_is_for_its_address_alone(desk, closed) -> None:
    invite(desk, "dave@partner.net")
    eve = Client()
    eve.get(link_in(mail.outbox[0]))
    assert "The invitation is for dave@partner.net" in sign_up(eve, "eve@partner.net")
    assert not User.objects.filter(email__startswith="eve").exists()


def test_opening_the_link_uses_nothing_up_and_an_account_does(desk, closed) -> None:
    invite(desk, "dave@partner.net")
    link = link_in(mail.outbox[0])
    scanner, dave = Client(), Client()
    scanner.get(link, follow=True)
    dave.get(link)
    sign_up(dave, "dave@partner.net")

    late = scanner.get(link)
    assert (late.status_code, "Invitation no longer valid" in late.content.decode()) == (410, True)
    assert "Invitation required" in scanner.get(reverse("account_signup")).content.decode()


@pytest.mark.parametrize("spoil", ["expired", "withdrawn", "forged"])
def test_a_link_that_is_no_good_says_so(desk, closed, clock, spoil: str) -> None:
    invite(desk, "dave@partner.net")
    link = link_in(mail.outbox[0])
    if spoil == "expired":
        clock.forward(days=8)
    if spoil == "withdrawn":
        ask(desk, "withdraw", Invitation.objects.get(), reason="A mistake.")
    link = link[:-3] + "x/" if spoil == "forged" else link
    assert Client().get(link).status_code == 410


@pytest.mark.parametrize(
    ("email", "remedy"),
    [
        ("alice@example.com", "has an account already"),
        ("dave@partner.net", "send that invitation again instead"),
        ("dave", "Enter a valid email address"),
    ],
)
def test_inviting_in_vain_says_why(desk, alice, email: str, remedy: str) -> None:
    invite(desk, "dave@partner.net")
    assert remedy in invite(desk, email)
    assert len(mail.outbox) == 1


def test_an_expired_invitation_makes_room_for_another(desk, clock) -> None:
    invite(desk, "dave@partner.net")
    clock.forward(days=8)
    invite(desk, "dave@partner.net")
    assert Invitation.objects.count() == 1
    assert len(mail.outbox) == 2


def test_an_invitation_is_sent_again_and_kept_in_the_audit(desk) -> None:
    invite(desk, "dave@partner.net")
    ask(desk, "send", Invitation.objects.get(), reason="It was among the spam.")
    assert [letter.to for letter in mail.outbox] == [["dave@partner.net"]] * 2
    assert list(AuditEntry.objects.order_by("id").values_list("act", flat=True)) == ["add", "send"]


def test_no_page_of_the_console_shows_the_link(desk) -> None:
    invite(desk, "dave@partner.net")
    signed = link_in(mail.outbox[0]).split("/")[2]
    row = Invitation.objects.get()
    for page in (INVITATIONS, page_of(row), "/admin/sandboxes/auditentry/"):
        assert signed not in desk.get(page).content.decode()


def test_who_has_an_account_is_led_to_the_dashboard(web, desk) -> None:
    invite(desk, "dave@partner.net")
    page = web.get(link_in(mail.outbox[0]), follow=True)
    assert page.redirect_chain[-1][0] == "/"


WAYS = ["/accounts/oidc/oidc/login/", "/accounts/github/login/"]


@pytest.mark.parametrize("path", WAYS)
def test_who_comes_from_a_provider_has_an_account_at_once(client, provider, path) -> None:
    page = come_back(client, path)
    assert "Your own copy of the API" in page.content.decode()
    assert EmailAddress.objects.get(email="carol@example.com").verified
    again = come_back(Client(), path)
    assert again.redirect_chain[-1][0] == "/"
    assert User.objects.count() == 1


@pytest.mark.parametrize("path", WAYS)
def test_a_provider_signs_in_to_the_account_of_its_verified_address(
    client, provider: Provider, alice, path
) -> None:
    provider.person["email"] = alice.email
    come_back(client, path)
    assert SocialAccount.objects.get().user == alice
    assert client.session["_auth_user_id"] == str(alice.pk)


@pytest.mark.parametrize("path", WAYS)
def test_an_address_that_the_provider_has_not_verified_opens_nobodys_account(
    client, provider: Provider, alice, path
) -> None:
    provider.person |= {"email": alice.email, "email_verified": False}
    come_back(client, path)
    assert "_auth_user_id" not in client.session
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("path", WAYS)
def test_domains_hold_for_who_comes_from_a_provider(client, provider, domains, path) -> None:
    provider.person["email"] = "eve@evil.com"
    page = come_back(client, path)
    assert "Invitation required" in page.content.decode()
    assert not User.objects.exists()


def test_an_invitation_holds_for_who_comes_from_a_provider(client, desk, provider, closed) -> None:
    come_back(stranger := Client(), WAYS[0])
    assert "_auth_user_id" not in stranger.session
    invite(desk, "carol@example.com")
    invited = Client()
    invited.get(link_in(mail.outbox[0]))
    come_back(invited, WAYS[0])
    assert Invitation.objects.get().accepted_by == User.objects.get(email="carol@example.com")


def test_a_provider_that_breaks_is_told_in_a_sentence(client, provider: Provider) -> None:
    provider.broken = True
    page = come_back(client, WAYS[0])
    assert "Sign-in failed" in page.content.decode()
    assert SECRET not in page.content.decode()


def test_a_sign_in_with_a_provider_begins_with_a_click_alone(client, provider) -> None:
    page = client.get(WAYS[0])
    assert "Sign in with Example Inc.?" in page.content.decode()


def test_sign_in_pages_offer_the_providers_that_are_set_up(client, settings) -> None:
    page = client.get(reverse("account_login")).content.decode()
    assert "Continue with" not in page


def test_sign_in_pages_name_each_provider(client, provider) -> None:
    for name in ("account_login", "account_signup"):
        page = client.get(reverse(name)).content.decode()
        assert "Continue with Example Inc." in page
        assert "Continue with GitHub" in page


def test_a_connection_is_made_and_taken_off(web, provider, alice) -> None:
    come_back(web, f"{WAYS[1]}?process=connect")
    row = SocialAccount.objects.get(user=alice)
    page = web.get(reverse("socialaccount_connections")).content.decode()
    assert "Disconnect" in page
    web.post(reverse("socialaccount_connections"), {"account": row.pk})
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ACCOUNT_SIGNUP_DOMAINS": "example.com"}, "keeps nobody out"),
        ({"ACCOUNT_SIGNUP_DOMAINS": "https://example.com/"}, "is no domain"),
        ({"GITHUB_CLIENT_ID": "abc"}, "GITHUB_CLIENT_SECRET is not"),
        ({"OIDC_CLIENT_ID": "abc", "OIDC_CLIENT_SECRET": "x"}, "OIDC_SERVER_URL is not"),
        ({"HTTPS": True}, "a password alone opens the console"),
    ],
)
def test_what_is_set_up_by_halves_is_found_at_start(settings, values, said) -> None:
    assert checks_accounts.check_accounts() == []
    for name, value in values.items():
        setattr(settings, name, value)
    assert said in " ".join(message.msg for message in checks_accounts.check_accounts())
