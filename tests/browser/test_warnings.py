"""Warnings in a browser: the banner of an open page, and notifications for those who want them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sandboxes.lib import clock
from sandboxes.models import Preferences, Sandbox
from tests.browser.conftest import Watch, sign_in
from tests.browser.waiting import evaluates
from tests.helpers.scenarios import launch, reload, sweep

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser

REMEMBER = """
window.notified = [];
window.asked = 0;
const Real = Notification;
window.Notification = class extends Real {
  constructor(title, options) {
    super(title, options);
    window.notified.push(title);
  }
  static requestPermission() {
    window.asked += 1;
    return Promise.resolve((window.answer = "granted"));
  }
  static get permission() {
    return window.answer ?? (window.undecided ? "default" : Real.permission);
  }
};
"""
"""The browser's own notifications, with a note of each; Chromium without a window asks nobody."""


@pytest.fixture
def noted(page: Page, context: BrowserContext) -> Page:
    context.grant_permissions(["notifications"])
    page.add_init_script(REMEMBER)
    return page


def nearly_over(user: User, name: str) -> Sandbox:
    sandbox = launch(user, name=name)
    soon = clock.now() + timedelta(minutes=4)
    Sandbox.objects.filter(pk=sandbox.pk).update(expires_at=soon)
    sweep()
    return reload(sandbox)


def ask_for_news(page: Page) -> None:
    """What an open page does by itself every 20 seconds."""
    page.evaluate("htmx.trigger(document.body, 'sandboxes-changed')")


def test_an_open_page_gets_the_banner_and_its_button_extends(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sign_in(page, alice)
    page.goto("/tokens/")
    sandbox = nearly_over(alice, "checkout")
    ask_for_news(page)
    banner = page.locator(".warning")
    expect(banner).to_contain_text(re.compile(r"checkout\s+ends in (4:00|3:\d\d)"))
    banner.get_by_role("button", name="Extend by 2 h").click()
    expect(page.get_by_text("Extended by 120 minutes.")).to_be_visible()
    assert reload(sandbox).expires_at != sandbox.expires_at
    page.goto("/tokens/")
    expect(page.locator(".warning")).to_have_count(0)


def test_who_wants_to_is_notified_once_of_each_warning(
    noted: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    Preferences.objects.create(user=alice, browser=True)
    sign_in(noted, alice)
    noted.goto("/")
    nearly_over(alice, "checkout")
    ask_for_news(noted)
    evaluates(noted, "notified.join()", "checkout ends soon")
    for page in ("/", "/tokens/"):
        noted.goto(page)
        expect(noted.locator("[data-warning]")).to_have_count(1)
        assert noted.evaluate("notified") == []
    nearly_over(alice, "spike")
    ask_for_news(noted)
    evaluates(noted, "notified.join()", "spike ends soon")


def test_who_does_not_want_to_is_neither_asked_nor_notified(
    noted: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sign_in(noted, alice)
    nearly_over(alice, "checkout")
    noted.goto("/tokens/")
    expect(noted.locator("[data-warning]")).to_have_count(1)
    assert noted.evaluate("[notified.length, asked]") == [0, 0]


@pytest.mark.parametrize("place", ["/preferences/", "/tokens/"])
def test_the_browser_is_asked_on_a_click_alone(
    noted: Page, alice: User, runtime: MemoryRuntime, watch: Watch, place: str
) -> None:
    noted.add_init_script("window.undecided = true")
    sign_in(noted, alice)
    nearly_over(alice, "checkout")
    noted.goto(place)
    button = noted.get_by_role(
        "button", name="Allow notifications" if "pref" in place else "Notify me"
    )
    if "pref" in place:
        expect(noted.get_by_label("Show notifications")).not_to_be_checked()
    assert noted.evaluate("asked") == 0
    button.first.click()
    evaluates(noted, "[asked, notified].join()", "1,checkout ends soon")
    assert Preferences.for_user(alice).browser
    if "pref" in place:
        expect(noted.get_by_label("Show notifications")).to_be_checked()
