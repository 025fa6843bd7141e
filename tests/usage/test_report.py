"""The usage report, for operators and for users."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from sandboxes.models import Sandbox, State
from tests.helpers.scenarios import launch
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

REPORT = "/admin/sandboxes/sandbox/usage/"


def ended(user: User, month: int, hours: float, **values: object) -> None:
    """Create a sandbox that was launched on the first of the month and has ended."""
    began = datetime(2026, month, 1, 12, tzinfo=UTC)
    values = {"state": State.DESTROYED, "end_reason": "user", "slot": None} | values
    until = began + timedelta(hours=hours)
    Sandbox.objects.filter(pk=launch(user).pk).update(
        created_at=began, started_at=began, ended_at=until, memory_mb=512, **values
    )


@pytest.fixture
def sandboxes(alice: User, bob: User) -> None:
    ended(alice, 5, 1.5)
    ended(alice, 5, 0.5)
    failed = {"state": State.FAILED, "end_reason": "provision_failed"}
    ended(alice, 6, 0, **failed)
    Sandbox.objects.filter(state=State.FAILED).update(started_at=None)
    ended(bob, 6, 4)
    Sandbox.objects.filter(owner=bob).update(blueprint="=1+1")


@pytest.mark.store
@pytest.mark.usefixtures("sandboxes")
def test_operators_export_launches_failures_and_hours(admin_client: Client) -> None:
    response = admin_client.get(REPORT, {"format": "csv"})
    rows = list(csv.reader(response.content.decode().splitlines()))
    assert rows[1:] == [
        ["2026-06", "alice@example.com", "billing", "1", "1", "0.00", "0.00"],
        ["2026-06", "bob@example.com", "'=1+1", "1", "0", "4.00", "2.00"],
        ["2026-05", "alice@example.com", "billing", "2", "0", "2.00", "1.00"],
    ]
    page = text(admin_client.get(REPORT))
    assert "June 2026 2 1 4.0 2.0" in page
    assert "May 2026 alice@example.com billing 2 0 2.0 1.0" in page


@pytest.mark.usefixtures("sandboxes")
def test_users_see_only_their_own_usage(alice: User, client: Client) -> None:
    client.force_login(alice)
    page = text(client.get("/history/usage/"))
    assert "May 2026 2 0 2.0 1.0" in page
    assert "June 2026 1 1 0.0 0.0" in page
    assert "bob" not in page
