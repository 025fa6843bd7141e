"""Sign-in says that a session expired, and only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

EXPIRED = "Your session expired. Sign in again to continue."


@pytest.fixture
def browser(client: Client, alice: User) -> Client:
    """Return a browser that has signed in with the form."""
    client.post(reverse("account_login"), {"login": alice.email, "password": PASSWORD})
    return client


def forget_cookie(browser: Client) -> None:
    del browser.cookies[settings.SESSION_COOKIE_NAME]


def delete_session(browser: Client) -> None:
    Session.objects.all().delete()


@pytest.mark.parametrize("expire", [forget_cookie, delete_session])
def test_sign_in_says_that_the_session_expired(browser: Client, expire) -> None:
    expire(browser)
    assert EXPIRED in text(browser.get(reverse("history"), follow=True))


def test_sign_in_says_nothing_after_signing_out(browser: Client) -> None:
    browser.post(reverse("account_logout"))
    assert EXPIRED not in text(browser.get(reverse("history"), follow=True))


def test_sign_in_says_nothing_to_new_visitors(client: Client) -> None:
    assert EXPIRED not in text(client.get("/", follow=True))
