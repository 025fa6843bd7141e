"""Accounts made with the address of another user, and what a new password ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse

from sandboxes.accounts import api_tokens
from sandboxes.checks.accounts import check_accounts
from sandboxes.models import Webhook
from tests.conftest import PASSWORD
from tests.helpers.sign_in import KEY, PROVIDER_LOGINS, sign_in, sign_in_with_provider, sign_up

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from tests.fakes.oauth_provider import Provider

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]

VICTIM = "carol@example.com"
NEW_PASSWORD = "another battery staple"


@pytest.fixture
def squatter(settings: SettingsWrapper) -> Client:
    """Return the browser of a stranger who signed up with Carol's address."""
    browser = Client()
    sign_up(browser, VICTIM)
    assert not EmailAddress.objects.get(email=VICTIM).verified
    return browser


def give_everything(user: User) -> str:
    """Create a token, a webhook and a second factor; return the token."""
    Webhook.objects.create(user=user, slot=1, url="https://evil.example/", secrets={"current": "x"})
    TOTP.activate(user, KEY)
    return api_tokens.issue(user, "squatter")[1]


def assert_nothing_left(user: User, token: str, browser: Client) -> None:
    assert api_tokens.authenticate(token) is None
    assert not Webhook.objects.filter(user=user).exists()
    assert not Authenticator.objects.filter(user=user).exists()
    assert not UserSession.objects.filter(user=user).exists()
    assert browser.get("/").status_code == 302


@pytest.mark.parametrize("path", PROVIDER_LOGINS)
def test_the_owner_of_an_address_doesnt_share_the_account_of_a_squatter(
    squatter: Client, provider: Provider, path: str
) -> None:
    first = User.objects.get()
    token = give_everything(first)

    sign_in_with_provider(owner := Client(), path)

    mine = User.objects.get(email=VICTIM)
    assert mine != first
    assert SocialAccount.objects.get().user == mine
    assert owner.get("/").status_code == 200
    assert EmailAddress.objects.get(email=VICTIM).user == mine
    first.refresh_from_db()
    assert first.email == ""
    assert not first.check_password(PASSWORD)
    assert_nothing_left(first, token, squatter)


def test_the_first_sign_in_to_an_account_that_an_operator_created_revokes_its_tokens(
    client: Client, provider: Provider, alice: User
) -> None:
    provider.person["email"] = alice.email
    token = api_tokens.issue(alice, "set up for her")[1]
    sign_in_with_provider(client, PROVIDER_LOGINS[0])
    assert SocialAccount.objects.get().user == alice
    assert api_tokens.authenticate(token) is None
    own = api_tokens.issue(alice, "laptop")[1]
    sign_in_with_provider(Client(), PROVIDER_LOGINS[0])
    assert api_tokens.authenticate(own)


def test_an_unverified_second_address_of_an_account_is_released_alone(
    client: Client, provider: Provider, alice: User
) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    EmailAddress.objects.create(user=alice, email=VICTIM, verified=False)
    token = api_tokens.issue(alice, "laptop")[1]

    sign_in_with_provider(client, PROVIDER_LOGINS[0])

    assert EmailAddress.objects.get(email=VICTIM).user == User.objects.get(email=VICTIM) != alice
    assert api_tokens.authenticate(token)
    assert alice.has_usable_password()


def test_a_provider_doesnt_open_an_operators_account_with_an_unverified_address(
    client: Client, provider: Provider, olga: User
) -> None:
    EmailAddress.objects.create(user=olga, email=olga.email, verified=False, primary=True)
    provider.person["email"] = olga.email

    page = sign_in_with_provider(client, PROVIDER_LOGINS[0]).content.decode()

    assert "hasn't verified it" in page.replace("&#x27;", "'")
    assert list(User.objects.all()) == [olga]
    olga.refresh_from_db()
    assert (olga.email, olga.check_password(PASSWORD)) == ("olga@example.com", True)


def test_an_account_keeps_its_address_if_its_owner_may_not_sign_up(
    squatter: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    settings.ACCOUNT_SIGNUP_OPEN = False
    sign_in_with_provider(Client(), PROVIDER_LOGINS[0])
    assert User.objects.get().email == VICTIM
    assert squatter.get("/").status_code == 200


def reset_password(email: str, **more: str) -> None:
    """Ask for a link by email, follow it, and set a new password."""
    browser = Client()
    browser.post(reverse("account_reset_password"), {"email": email})
    link = re.search(r"http://\S+?(/accounts/password/reset/\S+)", mail.outbox[-1].body)
    assert link
    page = browser.get(link[1], follow=True)
    form = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD} | more
    browser.post(page.request["PATH_INFO"], form)


def test_a_reset_gives_no_access_to_an_account_that_only_added_the_address(alice: User) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    EmailAddress.objects.create(user=alice, email=VICTIM)
    Client().post(reverse("account_reset_password"), {"email": VICTIM})
    [message] = mail.outbox
    assert message.to == [VICTIM]
    assert "/accounts/password/reset/" not in str(message.body)
    assert "/accounts/signup/" in str(message.body)


@pytest.mark.parametrize("verified", [True, False])
def test_a_reset_proves_only_the_address_that_its_link_was_sent_to(
    squatter: Client, verified: bool
) -> None:
    own = "squatter@evil.example"
    EmailAddress.objects.create(user=User.objects.get(), email=own, verified=verified)
    squatter.post(reverse("account_reset_password"), {"email": own})
    if verified:
        reset_password(own)
        assert User.objects.get().check_password(NEW_PASSWORD)
    assert not EmailAddress.objects.get(email=VICTIM).verified


def test_a_reset_by_the_owner_of_an_unverified_address_leaves_nothing_of_the_squatter(
    squatter: Client,
) -> None:
    user = User.objects.get()
    token = give_everything(user)
    EmailAddress.objects.create(user=user, email="squatter@evil.example", verified=True)

    reset_password(VICTIM)

    assert_nothing_left(user, token, squatter)
    [address] = EmailAddress.objects.all()
    assert (address.email, address.verified) == (VICTIM, True)
    user.refresh_from_db()
    assert user.check_password(NEW_PASSWORD)


@pytest.mark.parametrize("chosen", [True, False])
def test_a_reset_revokes_tokens_if_that_is_chosen(alice: User, chosen: bool) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    token = api_tokens.issue(alice, "laptop")[1]
    reset_password(alice.email, **({"sign_out_everywhere": "on"} if chosen else {}))
    assert (api_tokens.authenticate(token) is None) == chosen


@pytest.mark.parametrize("chosen", [True, False])
def test_changing_the_password_ends_all_other_access_if_that_is_chosen(
    alice: User, chosen: bool
) -> None:
    here, other = sign_in(alice), sign_in(alice)
    token = api_tokens.issue(alice, "laptop")[1]
    form = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    page = here.get(reverse("account_change_password")).content.decode()
    assert "Sign out everywhere else and revoke all API tokens" in page

    here.post(
        reverse("account_change_password"), form | ({"sign_out_everywhere": "on"} if chosen else {})
    )

    assert here.get("/").status_code == 200
    assert other.get("/").status_code == 302
    assert (api_tokens.authenticate(token) is None) == chosen


@pytest.mark.parametrize(
    ("values", "message_part"),
    [
        ({"ACCOUNT_EMAIL_VERIFICATION": "none"}, "Anyone can create an account"),
        ({"ACCOUNT_EMAIL_VERIFICATION": "optional"}, "Anyone can create an account"),
        ({"ACCOUNT_CONFIRM_EMAIL_ON_GET": True}, "for a stranger"),
        ({"SOCIALACCOUNT_PROVIDERS": {"x": {"VERIFIED_EMAIL": True}}}, "unverified addresses"),
    ],
)
def test_settings_that_allow_a_takeover_are_reported(
    settings: SettingsWrapper, values: dict[str, object], message_part: str
) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {}}
    assert check_accounts() == []
    for name, value in values.items():
        setattr(settings, name, value)
    assert message_part in " ".join(message.msg for message in check_accounts())
