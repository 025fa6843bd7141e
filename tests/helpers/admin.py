"""Helpers for tests that use the admin as an operator."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.helpers.scenarios import run_on_commit

SANDBOXES = "/admin/sandboxes/sandbox/"


@pytest.fixture
def admin_client(client, olga):
    """Return Olga's browser."""
    client.force_login(olga)
    return client


def page_of(row: object) -> str:
    name = type(row)._meta.label_lower.replace(".", "_")
    return reverse(f"admin:{name}_change", args=[row.pk])


def messages_of(response) -> list[str]:
    """Return the messages on the page that follows."""
    return [str(message) for message in response.context["messages"]]


def run_action(admin_client, action: str, *rows: object, **answers: object):
    """Send an action like the list's form; with answers, like its confirmation page."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    url = reverse(f"admin:{type(rows[0])._meta.label_lower.replace('.', '_')}_changelist")
    more = {"confirmed": "yes", **answers} if answers else {}
    with run_on_commit():
        return admin_client.post(url, data | more, follow=True)
