"""The portal's own name and logo on pages, in emails and in the API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from sandboxes.checks.accounts import check_accounts
from sandboxes.lib.branding import MAX_LOGO_BYTES
from tests.helpers.admin import run_action
from tests.helpers.scenarios import launch

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.django_db

NAME = "Ada & Söhne"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def test_pages_and_emails_have_the_portals_name(
    admin_client: Client, runtime: MemoryRuntime, alice: User, settings: Any
) -> None:
    settings.PORTAL_NAME = NAME
    client = Client()
    sign_in = client.get(reverse("account_login")).content.decode()
    run_action(admin_client, "message", launch(alice), text="Hello.", reason="Test.")
    (message,) = mail.outbox
    for page in (sign_in, render_to_string("500.html"), message.alternatives[0].content):  # type: ignore[attr-defined]
        assert "Ada &amp; Söhne" in page
        assert "Sandbox Portal" not in page
    assert NAME in message.body
    assert client.get("/api/v1/").json()["name"] == f"{NAME} API"


def test_the_logo_is_shown_and_its_scripts_never_run(
    client: Client, settings: Any, tmp_path: Path
) -> None:
    file = tmp_path / "logo.svg"
    file.write_bytes(SVG)
    settings.PORTAL_LOGO = str(file)
    page = client.get(reverse("account_login")).content.decode()
    assert page.count('"/logo?v=') == 2, "beside the name and as the tab's icon"
    logo = client.get("/logo")
    assert (logo.content, logo["Content-Type"]) == (SVG, "image/svg+xml")
    assert "sandbox" in logo["Content-Security-Policy"]
    assert "script-src" not in logo["Content-Security-Policy"]
    assert logo["Cache-Control"].startswith("public")
    assert check_accounts() == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("logo.exe", b"x", "ends with none of"),
        ("logo.png", None, "can't be read"),
        ("logo.png", b"", "is empty or larger"),
        ("logo.png", b"x" * (MAX_LOGO_BYTES + 1), "is empty or larger"),
    ],
)
def test_an_unusable_logo_is_reported_and_replaced_by_the_portals_own(
    client: Client, settings: Any, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    settings.PORTAL_LOGO = str(file)
    (message,) = check_accounts()
    assert (message.id, words in message.msg) == ("sandboxes.E022", True)
    assert "/logo?v=" not in client.get(reverse("account_login")).content.decode()
    assert client.get("/logo")["Location"].endswith("favicon.svg")


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 41])
def test_an_unusable_name_is_reported(settings: Any, name: str) -> None:
    settings.PORTAL_NAME = name
    (message,) = check_accounts()
    assert message.id == "sandboxes.E021"
