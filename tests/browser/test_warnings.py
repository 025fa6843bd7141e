"""Warnings in a browser: the banner of an open page and opt-in notifications."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from sandboxes.lib import clock
from sandboxes.models import Preferences, Sandbox
from tests.browser.conftest import Watch, sign_in
from tests.browser.waiting import evaluates
from tests.helpers.scenarios import launch, reload, sweep

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser

RECORD_NOTIFICATIONS = """
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
    return window.answer ?? (window.undecided ? "default" : "granted");
  }
};
"""
"""Script that records notifications and decides about permissions; headless Chromium has none."""


@pytest.fixture
def recorded_page(page: Page) -> Page:
    page.add_init_script(RECORD_NOTIFICATIONS)
    return page


def launch_ending_soon(user: User, name: str) -> Sandbox:
    sandbox = launch(user, name=name)
    soon = clock.now() + timedelta(minutes=4)
    Sandbox.objects.filter(pk=sandbox.pk).update(expires_at=soon)
    sweep()
    return reload(sandbox)


def poll(page: Page) -> None:
    """Trigger the request that an open page sends every 20 seconds."""
    page.evaluate("htmx.trigger(document.body, 'sandboxes-changed')")


def test_an_open_page_gets_the_banner_and_its_button_extends(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sign_in(page, alice)
    page.goto("/tokens/")
    sandbox = launch_ending_soon(alice, "checkout")
    poll(page)
    banner = page.locator(".warning")
    expect(banner).to_contain_text(re.compile(r"checkout\s+ends in (4:00|3:\d\d)"))
    banner.get_by_role("button", name="Extend by 2 h").click()
    expect(page.get_by_text("Extended by 120 minutes.")).to_be_visible()
    assert reload(sandbox).expires_at != sandbox.expires_at
    page.goto("/tokens/")
    expect(page.locator(".warning")).to_have_count(0)


def test_opted_in_user_is_notified_once_per_warning(
    recorded_page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    Preferences.objects.create(user=alice, browser=True)
    sign_in(recorded_page, alice)
    recorded_page.goto("/")
    launch_ending_soon(alice, "checkout")
    poll(recorded_page)
    evaluates(recorded_page, "notified.join()", "checkout ends soon")
    for page in ("/", "/tokens/"):
        recorded_page.goto(page)
        expect(recorded_page.locator("[data-warning]")).to_have_count(1)
        assert recorded_page.evaluate("notified") == []
    launch_ending_soon(alice, "spike")
    poll(recorded_page)
    evaluates(recorded_page, "notified.join()", "spike ends soon")


def test_user_without_opt_in_is_neither_asked_nor_notified(
    recorded_page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sign_in(recorded_page, alice)
    launch_ending_soon(alice, "checkout")
    recorded_page.goto("/tokens/")
    expect(recorded_page.locator("[data-warning]")).to_have_count(1)
    assert recorded_page.evaluate("[notified.length, asked]") == [0, 0]


@pytest.mark.parametrize("place", ["/preferences/", "/tokens/"])
def test_permission_is_requested_only_on_click(
    recorded_page: Page, alice: User, runtime: MemoryRuntime, watch: Watch, place: str
) -> None:
    recorded_page.add_init_script("window.undecided = true")
    sign_in(recorded_page, alice)
    launch_ending_soon(alice, "checkout")
    recorded_page.goto(place)
    button = recorded_page.get_by_role(
        "button", name="Allow notifications" if "pref" in place else "Notify me"
    )
    if "pref" in place:
        expect(recorded_page.get_by_label("Show notifications")).not_to_be_checked()
    assert recorded_page.evaluate("asked") == 0
    button.first.click()
    evaluates(recorded_page, "[asked, notified].join()", "1,checkout ends soon")
    assert Preferences.for_user(alice).browser
    if "pref" in place:
        expect(recorded_page.get_by_label("Show notifications")).to_be_checked()
