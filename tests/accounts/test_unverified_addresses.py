"""Accounts with an unverified address, or without a password, have a way to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP
from django.core import mail
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD
from tests.helpers.sign_in import KEY
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def add_address(user: User, email: str, *, verified: bool = False) -> EmailAddress:
    row: EmailAddress = EmailAddress.objects.create(user=user, email=email, verified=verified)
    return row


@pytest.mark.parametrize("start", ["mfa_index", "mfa_activate_totp"])
def test_two_factor_setup_offers_to_verify_the_address_first(
    web: Client, alice: User, start: str
) -> None:
    add_address(alice, alice.email)
    page = web.get(reverse(start), follow=True)
    assert "Verify your email address first" in text(page)
    assert "Set up" not in text(page)

    answer = {"email": alice.email, "action_send": ""}
    sent = web.post(reverse("account_email"), answer, follow=True)
    assert "alice@example.com" in text(sent)
    link = next(word for word in mail.outbox[0].body.split() if "/confirm-email/" in word)
    web.post(link)
    assert "Set up" in text(web.get(reverse("mfa_index")))


def test_an_operator_who_needs_two_factors_is_told_to_verify_first(
    admin_client: Client, olga: User, settings: object
) -> None:
    settings.OPERATORS_REQUIRE_MFA = True  # type: ignore[attr-defined]
    add_address(olga, olga.email)
    page = admin_client.get("/admin/", follow=True).content.decode()
    assert "Operators need two-factor authentication." in page
    assert "Send verification email to olga@example.com" in page


def test_each_unverified_address_can_be_verified(web: Client, alice: User) -> None:
    add_address(alice, alice.email, verified=True)
    add_address(alice, "second@example.com")
    page = web.get(reverse("mfa_index")).content.decode()
    assert "Send verification email to second@example.com" in page
    assert "Send verification email to alice@example.com" not in page


def test_an_address_that_two_factors_forbid_is_refused_with_a_remedy(
    client: Client, alice: User
) -> None:
    client.post(reverse("account_login"), {"login": alice.email, "password": PASSWORD})
    TOTP.activate(alice, KEY)
    page = client.post(
        reverse("account_email"), {"email": "second@example.com", "action_add": ""}, follow=True
    )
    assert "Turn it off, add and verify the address, and turn it on again." in page.content.decode()


def test_an_account_without_a_password_can_set_up_two_factors(web: Client, alice: User) -> None:
    alice.set_unusable_password()
    alice.save()
    web.force_login(alice)
    add_address(alice, alice.email, verified=True)
    assert web.get(reverse("mfa_activate_totp")).status_code == 200
    page = web.get(reverse("account_change_password"), follow=True)
    assert "Set a password" in text(page)
