"""The main user path, from sign-up on an empty portal to a destroyed sandbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from sandboxes.models import Sandbox
from tests.browser.conftest import Watch, sign_in
from tests.conftest import PASSWORD
from tests.helpers.scenarios import event_kinds, launch

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer
    from pytest_playwright.pytest_playwright import CreateContextCallback

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser


def sign_up(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Email").fill("alice@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("Your own copy of the API")).to_be_visible()


def card_of(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name)


def confirm(page: Page, what: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=what).click()


def test_sandbox_lifecycle_needs_no_page_reload(
    page: Page, worker: None, runtime: MemoryRuntime, watch: Watch
) -> None:
    runtime.slow_seconds = 0.3
    sign_up(page)
    page.evaluate("window.loadedOnce = true")
    page.get_by_label("Name").fill("checkout")
    page.get_by_role("radio", name="30 min").check()
    page.get_by_role("button", name="Launch sandbox").click()
    card = card_of(page, "checkout")
    expect(card.get_by_text("Create network")).to_be_visible()
    expect(card.get_by_text("Running", exact=True)).to_be_visible()
    expect(page.get_by_text("1 of 3 sandboxes")).to_be_visible()
    sandbox = Sandbox.objects.get()
    assert sandbox.ttl_minutes == 30

    expect(card.locator(".time-left-value")).to_have_text("30 min")
    expect(card.get_by_role("button", name="Copy command")).to_be_enabled()
    command = card.get_by_text(f"Authorization: Bearer {sandbox.secrets['API_KEY']}")
    expect(command).to_be_visible()
    card.get_by_role("button", name="Show credentials").click()
    expect(card.get_by_role("heading", name="Credentials")).to_be_visible()
    expect(command, "the credentials replace the command").to_have_count(1)

    card.locator("summary", has_text="Extend").click()
    card.get_by_role("button", name="1 h").click()
    expect(page.get_by_text("Extended by 60 minutes.")).to_be_visible()
    expect(card.get_by_text("Already extended")).to_be_visible()
    expect(card.get_by_text("sk_test_").first, "a swap keeps the credentials").to_be_visible()

    card.get_by_role("button", name="Keep alive").click()
    expect(page.get_by_text("Idle timer reset to 30 minutes.")).to_be_visible()

    runtime.slow_seconds = 2
    card.get_by_role("link", name="Reset data").click()
    confirm(page, "Reset data")
    expect(card.get_by_role("button", name="Resetting")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Reset finished in \d+\.\d s\."))).to_be_visible()
    expect(card.get_by_role("link", name="Reset data")).to_be_visible()

    card.get_by_role("link", name="Destroy").click()
    expect(page.get_by_text("checkout will be destroyed.")).to_be_visible()
    expect(card.get_by_text("Ended", exact=True)).to_be_visible()
    expect(page.get_by_text("0 of 3 sandboxes")).to_be_visible()
    assert page.evaluate("window.loadedOnce"), "the page was never reloaded"
    kinds = {"credentials_read", "extended", "touched", "reset", "destroyed"}
    assert kinds <= set(event_kinds(sandbox))


def test_everything_works_without_javascript(
    new_context: CreateContextCallback, server: LiveServer, runtime: MemoryRuntime
) -> None:
    page = new_context(base_url=str(server), java_script_enabled=False).new_page()
    sign_up(page)
    page.get_by_label("Name").fill("checkout")
    page.get_by_role("button", name="Launch sandbox").click()
    card = card_of(page, "checkout")
    expect(card.get_by_text("Running", exact=True)).to_be_visible()
    expect(card.get_by_role("button", name="Copy"), "copying needs JavaScript").to_have_count(0)

    expect(card.get_by_text("Authorization: Bearer sk_test_")).to_be_visible()
    card.get_by_role("button", name="Show credentials").click()
    expect(page.get_by_text("Authorization: Bearer sk_test_")).to_be_visible()
    page.get_by_role("link", name="Hide").click()

    card.locator("summary", has_text="Extend").click()
    card.get_by_role("button", name="30 min").click()
    expect(card.get_by_text("Extended by 30 minutes.")).to_be_visible()

    card.get_by_role("button", name="Keep alive").click()
    expect(card.get_by_text("Idle timer reset")).to_be_visible()

    card.get_by_role("link", name="Reset data").click()
    page.get_by_role("button", name="Reset data").click()
    expect(card.get_by_text("Reset finished in")).to_be_visible()

    card.get_by_role("link", name="Details").click()
    page.get_by_role("link", name="api", exact=True).click()
    expect(page.get_by_text("api started")).to_be_visible()
    page.goto("/")

    card.get_by_role("link", name="Destroy").click()
    page.get_by_role("button", name="Destroy").click()
    expect(card.get_by_text("Destroyed by its owner")).to_be_visible()


def test_dashboard_at_the_limit_says_when_a_slot_opens_and_offers_to_destroy(
    page: Page, alice: User, watch: Watch
) -> None:
    for number in (1, 2, 3):
        launch(alice, name=f"number-{number}")
    sign_in(page, alice)
    expect(page.get_by_role("button", name="Launch sandbox")).to_be_disabled()
    expect(page.get_by_text("You've reached your limit of 3 sandboxes.")).to_be_visible()
    expect(
        page.get_by_text(re.compile(r"opens in about\s+\d+ min\s*, when number-1 times out"))
    ).to_be_visible()
    page.get_by_role("link", name="Destroy the oldest (number-1)").click()
    expect(page.get_by_text("number-1 will be destroyed.")).to_be_visible()
    expect(page.get_by_role("button", name="Launch sandbox")).to_be_enabled()
    expect(page.get_by_text("2 of 3 sandboxes")).to_be_visible()


def test_a_double_click_launches_one_sandbox(page: Page, alice: User, watch: Watch) -> None:
    sign_in(page, alice)
    page.get_by_role("button", name="Launch sandbox").dblclick()
    expect(page.get_by_text("1 of 3 sandboxes")).to_be_visible()
    assert Sandbox.objects.count() == 1


def test_a_failure_shows_what_failed_and_launches_again(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    runtime.fail_startup("api", 3, "api: no such table")
    sandbox = launch(alice, name="checkout")
    sign_in(page, alice)
    card = page.locator(f"#card-{sandbox.public_id}")
    expect(card.get_by_text("api exited with code 3")).to_be_visible()
    expect(card.get_by_text("api: no such table")).to_be_visible()
    card.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("article").get_by_text("Running", exact=True)).to_be_visible()
