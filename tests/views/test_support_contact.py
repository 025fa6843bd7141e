"""Wherever users are told to ask an administrator, the page says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from sandboxes.checks.accounts import check_accounts
from tests.helpers.admin import run_action
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import launch

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.django_db

MAIL_LINK = '<a href="mailto:help@example.com">help@example.com</a>'
PAGES = ["403.html", "500.html", "account/account_inactive.html", "account/signup_closed.html"]


@pytest.mark.parametrize("page", [*PAGES, "socialaccount/authentication_error.html"])
def test_pages_name_the_contact(settings: Any, page: str) -> None:
    settings.SUPPORT_CONTACT = "help@example.com"
    assert f"your administrator ({MAIL_LINK})" in render_to_string(page)
    settings.SUPPORT_CONTACT = "https://example.com/help?team=a&b"
    assert '(<a href="https://example.com/help?team=a&amp;b">' in render_to_string(page)
    settings.SUPPORT_CONTACT = ""
    assert "your administrator" in render_to_string(page)
    assert "mailto" not in render_to_string(page)


def test_emails_name_the_contact(
    admin_client: Client, runtime: MemoryRuntime, alice: User, settings: Any
) -> None:
    settings.SUPPORT_CONTACT = "help@example.com"
    sandbox = launch(alice)
    run_action(admin_client, "message", sandbox, text="Please end it by six.", reason="Disks.")
    run_action(admin_client, "destroy", sandbox, reason="Disks.")
    for message in mail.outbox:
        assert "your administrator (help@example.com)" in message.body
        assert MAIL_LINK in message.alternatives[0].content  # type: ignore[attr-defined]
    assert len(mail.outbox) == 2


def test_the_api_and_the_card_name_the_contact(
    web: Client, runtime: MemoryRuntime, alice: User, settings: Any
) -> None:
    settings.SUPPORT_CONTACT = "help@example.com"
    runtime.fail_startup("api", 3, "api: no such table")
    sandbox = launch(alice)
    advice = ApiClient(alice).get(f"/sandboxes/{sandbox.public_id}").json()["advice"]
    assert advice.endswith("send the logs to your administrator (help@example.com).")
    assert advice in web.get(reverse("sandbox", args=[sandbox.public_id])).content.decode()


@pytest.mark.parametrize(
    "contact", ["help", "help@", "ftp://example.com/help", "javascript:alert(1)"]
)
def test_an_invalid_contact_is_reported(settings: Any, contact: str) -> None:
    settings.SUPPORT_CONTACT = contact
    (message,) = check_accounts()
    assert message.id == "sandboxes.E020"
    assert contact in message.msg


@pytest.mark.parametrize("contact", ["", "help@example.com", "https://example.com/help"])
def test_a_valid_contact_is_not_reported(settings: Any, contact: str) -> None:
    settings.SUPPORT_CONTACT = contact
    assert check_accounts() == []
