"""Limits of failed sign-ins hold for an account, whichever address is typed, but don't lock it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD, Clock

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock"), pytest.mark.store]

SECOND_ADDRESS = "alice@work.example"
TOO_MANY = "Too many failed login attempts"


@pytest.fixture
def alice(alice: User) -> User:
    """Give alice a second verified address."""
    for email in (alice.email, SECOND_ADDRESS):
        EmailAddress.objects.create(
            user=alice, email=email, verified=True, primary=email == alice.email
        )
    return alice


def sign_in(
    login: str, password: str = PASSWORD, browser: Client | None = None, host: int = 1
) -> Any:
    form = {"login": login, "password": password}
    address = f"198.51.100.{host}"
    return (browser or Client()).post(reverse("account_login"), form, REMOTE_ADDR=address)


def browser_of(user: User) -> Client:
    """Return a browser in which the user has signed in, and out."""
    browser = Client()
    assert sign_in(user.email, browser=browser).status_code == 302
    browser.post(reverse("account_logout"))
    return browser


def fail(login: str, times: int) -> None:
    for _ in range(times):
        sign_in(login, "wrong")


def message(response: Any) -> str:
    return " ".join(re.findall(r"[^<>]*(?:not correct|Too many)[^<>]*", response.content.decode()))


@pytest.mark.parametrize("typed", [SECOND_ADDRESS, SECOND_ADDRESS.upper()])
def test_all_addresses_of_an_account_share_its_attempts(alice: User, typed: str) -> None:
    fail(alice.email, 5)
    assert sign_in(typed).status_code == 200
    assert sign_in(typed, host=2).status_code == 302


def test_a_limited_account_and_an_address_without_one_respond_alike(alice: User) -> None:
    fail(alice.email, 5)
    responses = [sign_in(login, "wrong") for login in (SECOND_ADDRESS, "unknown@work.example")]
    # The right password makes no difference, nor is its attempt counted less.
    responses.append(sign_in(SECOND_ADDRESS))
    assert {one.status_code for one in responses} == {200}
    (answer,) = {message(one) for one in responses}
    assert "not correct" in answer


@pytest.mark.parametrize("right_password", [False, True])
def test_a_refused_attempt_is_counted_with_either_password(
    alice: User, right_password: bool, clock: Clock
) -> None:
    fail(alice.email, 5)
    clock.forward(minutes=2)
    password = PASSWORD if right_password else "wrong"
    answers = [message(sign_in(SECOND_ADDRESS, password)) for _ in range(5)]
    assert not any(TOO_MANY in answer for answer in answers)
    assert TOO_MANY in message(sign_in(SECOND_ADDRESS))


def test_a_browser_that_signed_in_before_is_not_locked_out_by_others(alice: User) -> None:
    own = browser_of(alice)
    fail(alice.email, 5)

    assert TOO_MANY in message(sign_in(alice.email))
    assert sign_in(alice.email, browser=own).status_code == 302


def test_a_known_browser_has_a_few_attempts_of_its_own_account_only(alice: User, bob: User) -> None:
    browser = browser_of(alice)
    for _ in range(5):
        sign_in(alice.email, "wrong", browser)
    assert TOO_MANY in message(sign_in(alice.email, browser=browser))
    fail(bob.email, 5)
    assert TOO_MANY in message(sign_in(bob.email, browser=browser))


@pytest.mark.parametrize("forged", ["", "x", "abc:def:ghi"])
def test_a_forged_cookie_is_like_none(alice: User, forged: str) -> None:
    fail(alice.email, 5)
    browser = Client()
    browser.cookies["known_browser"] = forged
    assert TOO_MANY in message(sign_in(alice.email, browser=browser))


def test_a_new_password_makes_browsers_unknown(alice: User) -> None:
    browser = browser_of(alice)
    alice.set_password("another " + PASSWORD)
    alice.save()
    fail(alice.email, 5)
    assert TOO_MANY in message(sign_in(alice.email, browser=browser))


def test_a_link_by_email_opens_a_locked_account_for_its_owner(alice: User) -> None:
    owner = Client()
    owner.post(reverse("account_reset_password"), {"email": alice.email})
    link = re.search(r"http://\S+?(/accounts/password/reset/\S+)", str(mail.outbox[-1].body))
    assert link
    new = "entirely new words"
    page = owner.get(link[1], follow=True).request["PATH_INFO"]
    owner.post(page, {"password1": new, "password2": new})
    fail(alice.email, 5)
    assert TOO_MANY in message(sign_in(alice.email, new))
    assert sign_in(alice.email, new, owner).status_code == 302
