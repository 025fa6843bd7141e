"""Pictures of every page and state: `pytest tests/browser/screenshots.py`.

They go to `docs/screenshots/`, where git keeps those that the documentation shows. Not collected
with the tests, for a picture can't fail; somebody has to look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from tests.browser.conftest import sign_in
from tests.browser.scenes import SCENES, busy_week
from tests.conftest import PASSWORD
from tests.friendbots import Friendbot, bot

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

__all__ = ["bot"]

pytestmark = pytest.mark.usefixtures("steps_take_a_moment")

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
WIDTHS = {"wide": 1280, "narrow": 360}


@pytest.fixture(params=[(c, w) for c in ("light", "dark") for w in WIDTHS], ids="-".join)
def look(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Colours and width."""
    look: tuple[str, str] = request.param
    return look


@pytest.fixture
def steps_take_a_moment(runtime: MemoryRuntime, bot: Friendbot) -> None:
    """As on a real engine, and with a friendbot that funds."""
    runtime.slow_seconds = 0.1


@pytest.fixture
def page(browser: Browser, server: LiveServer, look: tuple[str, str]) -> Iterator[Page]:
    colours, width = look
    context = browser.new_context(
        base_url=str(server),
        color_scheme=colours,
        viewport={"width": WIDTHS[width], "height": 820},
        reduced_motion="reduce",
    )
    yield context.new_page()
    context.close()


def keep(page: Page, name: str, look: tuple[str, str]) -> None:
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=FOLDER / f"{name}-{'-'.join(look)}.png", full_page=True)


@pytest.mark.parametrize("scene", SCENES)
def test_dashboard(
    page: Page, look: tuple[str, str], scene: str, alice: User, runtime: MemoryRuntime
) -> None:
    SCENES[scene](alice, runtime)
    sign_in(page, alice)
    keep(page, scene, look)


def test_sandbox(page: Page, look: tuple[str, str], alice: User, runtime: MemoryRuntime) -> None:
    sandbox = SCENES["dashboard"](alice, runtime)
    assert sandbox
    for line in ("GET /v1/plans 200 4 ms", "GET /v1/subscribers?limit=3 200 6 ms"):
        runtime.say(sandbox.public_id, "api", line)
    sign_in(page, alice)
    page.goto(f"/sandboxes/{sandbox.public_id}/")
    page.get_by_role("button", name="Show credentials").click()
    page.get_by_role("link", name="api", exact=True).click()
    page.get_by_text("GET /v1/plans 200").wait_for()
    keep(page, "sandbox", look)
    page.get_by_role("link", name="Destroy").click()
    keep(page, "destroy", look)


def test_trial_mode(
    page: Page,
    look: tuple[str, str],
    alice: User,
    runtime: MemoryRuntime,
    settings: Any,
) -> None:
    sandbox = SCENES["dashboard"](alice, runtime)
    assert sandbox
    settings.SANDBOX_RUNTIME = "process"
    sign_in(page, alice)
    keep(page, "trial", look)
    page.goto(f"/sandboxes/{sandbox.public_id}/")
    keep(page, "trial-sandbox", look)


def test_tokens(page: Page, look: tuple[str, str], alice: User) -> None:
    sign_in(page, alice)
    page.goto("/tokens/")
    page.get_by_label("Name").fill("ci-pipeline")
    page.get_by_role("button", name="Create token").click()
    keep(page, "tokens", look)


def test_console(page: Page, look: tuple[str, str], alice: User, runtime: MemoryRuntime) -> None:
    olga = get_user_model().objects.create_superuser("olga", "olga@example.com", PASSWORD)
    busy_week(alice, runtime)
    sign_in(page, olga)
    page.goto("/admin/")
    keep(page, "console", look)
    page.get_by_role("button", name="Remove again now…").click()
    keep(page, "console-reason", look)
    page.get_by_label("Reason").fill("The volume is free again.")
    page.get_by_role("button", name="Remove again now").click()
    for name in ("sitesettings", "auditentry"):
        page.goto(f"/admin/sandboxes/{name}/")
        keep(page, f"console-{name}", look)


@pytest.mark.parametrize("name", ["login", "signup", "password/reset"])
def test_entrance(page: Page, look: tuple[str, str], name: str) -> None:
    page.goto(f"/accounts/{name}/")
    keep(page, name.replace("/", "-"), look)


@pytest.mark.parametrize("name", ["email", "password/change", "2fa"])
def test_account(page: Page, look: tuple[str, str], name: str, alice: User) -> None:
    sign_in(page, alice)
    page.goto(f"/accounts/{name}/")
    keep(page, f"account-{name.replace('/', '-')}", look)


def test_nothing_here(page: Page, look: tuple[str, str]) -> None:
    page.goto("/nothing-here")
    keep(page, "404", look)
