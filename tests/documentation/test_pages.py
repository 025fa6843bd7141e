"""The documentation as pages of the portal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from sandboxes import documentation
from sandboxes.documentation import contents
from sandboxes.documentation.headings import Anchors
from sandboxes.models import EndReason, EventKind
from tests.helpers.scenarios import event_kinds, launch
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ROOT = Path(settings.BASE_DIR)
LINK = re.compile(r'<a href="([^"]*)"')
HELP_LINK = re.compile(r'{% url "docs-page" "([\w-]+)" %}#([\w-]+)')


def test_every_file_of_the_documentation_is_a_page() -> None:
    files = {*(ROOT / "docs").rglob("*.md"), ROOT / "CHANGELOG.md"}
    assert set(contents.by_file()) == files


@pytest.mark.parametrize("for_operator", [False, True])
def test_links_lead_to_pages_that_the_reader_may_read(for_operator: bool) -> None:
    pages = contents.pages(for_operator=for_operator)
    rendered = {
        page.url: documentation.render(page, for_operator=for_operator).html for page in pages
    }
    broken = []
    for url, html in rendered.items():
        assert not re.search(r"<(script|style)|<\w+ [^>]*style=", html), url
        for link in LINK.findall(html):
            target, _, anchor = link.partition("#")
            if target.startswith("https:"):
                continue
            found = rendered.get(target or url)
            if found is None or (anchor and f'id="{anchor}"' not in found):
                broken.append(f"{url}: {link}")
    assert broken == []


def test_links_to_help_lead_to_headings() -> None:
    templates = "".join(file.read_text() for file in (ROOT / "templates").rglob("*.html"))
    links = {*HELP_LINK.findall(templates)}
    links |= {("troubleshooting", Anchors().add(one.label)) for one in EndReason}
    headings = {
        (name, anchor)
        for name in {name for name, _ in links}
        for anchor in re.findall(r'id="([^"]+)"', _html(name))
    }
    assert len(links) > len(EndReason)
    assert links - headings == set()


def _html(name: str) -> str:
    page = documentation.find(name, for_operators=False)
    assert page
    return documentation.render(page, for_operator=False).html


@pytest.mark.django_db
def test_pages_have_the_address_of_the_portal(client: Client) -> None:
    html = client.get("/docs/cli/").content.decode()
    assert "sandbox login http://testserver" in html
    assert "portal.example.com" not in html


@pytest.mark.django_db
def test_operators_pages_are_shown_to_staff_only(alice: User, olga: User, client: Client) -> None:
    url = reverse("docs-operators", args=["operations"])
    for reader, status in ((None, 302), (alice, 403), (olga, 200)):
        if reader:
            client.force_login(reader)
        assert client.get(url).status_code == status
        assert (url in client.get("/docs/").content.decode()) == (status == 200)
        found = text(client.get("/docs/search/?q=rollback"))
        assert ("Operations" in found) == (status == 200)


@pytest.mark.django_db
def test_search_finds_the_sections_that_contain_all_words(client: Client) -> None:
    html = client.get("/docs/search/?q=idempotency+retry").content.decode()
    assert f'href="{reverse("docs-page", args=["api"])}#idempotency-and-waiting"' in html
    assert "Nothing contains" in text(client.get("/docs/search/?q=idempotency+xylophone"))


@pytest.mark.django_db
@pytest.mark.usefixtures("runtime")
def test_the_quickstart_has_the_first_call_to_the_readers_sandbox(
    alice: User, client: Client
) -> None:
    assert "$API_KEY" in client.get("/docs/").content.decode()
    client.force_login(alice)
    sandbox = launch(alice)
    key = sandbox.secrets["API_KEY"]
    # A new sandbox shows its key, as its card does, until its credentials are read.
    assert key in client.get("/docs/").content.decode()
    assert key in client.post("/docs/").content.decode()
    assert key not in client.get("/docs/").content.decode()
    assert event_kinds(sandbox).count(EventKind.CREDENTIALS_READ) == 1
