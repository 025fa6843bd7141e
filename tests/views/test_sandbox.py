"""The sandbox page: credentials, journal, and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from tests.helpers.scenarios import event_kinds, launch, run_on_commit
from tests.helpers.web import (
    HTMX,
    click,
    post,
    text,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def test_viewing_credentials_is_recorded(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    key = sandbox.secrets["API_KEY"]
    address = reverse("credentials", args=[sandbox.public_id])
    assert key not in web.get(address, headers=HTMX).content.decode()
    assert "credentials_read" not in event_kinds(sandbox)
    shown = text(post(web, "credentials", sandbox))
    assert f"curl {sandbox.addresses['api:8080']}" not in shown
    assert f"curl http://{sandbox.addresses['api:8080']}/v1/plans" in shown
    assert f"Bearer {key}" in shown.replace("&#x27;", "'")
    assert event_kinds(sandbox).count("credentials_read") == 1


def test_credentials_of_an_ended_sandbox_are_rejected(web: Client, alice: User) -> None:
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    assert "Only a running sandbox" in text(click(web, "credentials", sandbox))


def test_a_failure_shows_the_last_log_lines(
    web: Client, alice: User, runtime: MemoryRuntime
) -> None:
    runtime.fail_startup("api", 3, "api: no such table")
    sandbox = launch(alice, name="checkout")
    for address in ("/", reverse("history"), reverse("sandbox", args=[sandbox.public_id])):
        page = text(web.get(address))
        assert "Failed to start" in page
        assert "api exited with code 3" in page
        assert "api: no such table" in page


def test_the_journal_lists_all_events(web: Client, alice: User, olga: User) -> None:
    sandbox = launch(alice)
    actions.extend(sandbox, 30, olga, "For the demo.")
    page = text(web.get(reverse("sandbox", args=[sandbox.public_id])))
    assert "Extended by 30 minutes. For the demo." in page
    assert "Operator ·" in page
    assert "You ·" in page
