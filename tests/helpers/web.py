"""Helpers for tests of pages without a browser.

Import the fixture `web` by name, and name it in `__all__`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from sandboxes.models import Sandbox
from tests.helpers.scenarios import run_on_commit

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

HTMX = {"HX-Request": "true"}


@pytest.fixture
def web(alice: User, client: Client) -> Client:
    """Return Alice's browser."""
    client.force_login(alice)
    return client


def text(response: HttpResponse) -> str:
    """Return the visible text of the page in one line."""
    body = re.sub(
        r"<(style|title|script)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL
    )
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def post(web: Client, name: str, sandbox: Sandbox, **data: Any) -> HttpResponse:
    """Send a form without JavaScript; return the page that follows."""
    with run_on_commit():
        return web.post(reverse(name, args=[sandbox.public_id]), data, follow=True)


def click(web: Client, name: str, sandbox: Sandbox, **data: Any) -> HttpResponse:
    """Send the same form with htmx."""
    with run_on_commit():
        return web.post(reverse(name, args=[sandbox.public_id]), data, headers=HTMX)
