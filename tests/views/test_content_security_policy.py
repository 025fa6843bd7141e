"""The content security policy, and error pages."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from tests.conftest import PASSWORD
from tests.helpers.scenarios import launch
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


class Inline(HTMLParser):
    """Finds inline code that the policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        inline_script = tag == "script" and "src" not in given
        if tag == "style" or (inline_script and given.get("type") != "application/json"):
            self.found.append(tag)
        self.found += [name for name in given if name == "style" or name.startswith("on")]


PAGES = ["/", "/history/", "/tokens/", "/accounts/email/", "/accounts/password/change/"]
PAGES += ["/accounts/2fa/", "/accounts/2fa/totp/activate/", "/accounts/reauthenticate/"]
PAGES += ["/accounts/logout/", "/nothing-here"]
ENTRANCE = ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"]
ENTRANCE += ["/accounts/password/reset/done/", "/accounts/inactive/", "/accounts/confirm-email/"]


@pytest.mark.parametrize("address", PAGES + ENTRANCE)
def test_no_page_has_inline_scripts_or_styles(alice: User, client: Client, address: str) -> None:
    if address in PAGES:
        # Pages with security settings require a recent sign-in.
        client.post("/accounts/login/", {"login": alice.email, "password": PASSWORD})
        launch(alice)
    response = client.get(address, follow=True)
    assert response.status_code in (200, 404)
    parser = Inline()
    parser.feed(response.content.decode())
    assert parser.found == []
    assert "'unsafe-inline'" not in response["Content-Security-Policy"]


def test_the_404_page_links_back(client: Client) -> None:
    response = client.get("/nothing-here")
    assert response.status_code == 404
    assert "Page not found" in text(response)
    assert 'href="/"' in response.content.decode()


def test_the_500_page_works_without_the_database(
    web: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("sandboxes.views.dashboard.views.cards", broken)
    web.raise_request_exception = False
    response = web.get("/")
    assert response.status_code == 500
    assert "Something went wrong" in text(response)
