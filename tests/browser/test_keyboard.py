"""Keyboard use, focus, and reduced motion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watch, sign_in
from tests.helpers.scenarios import launch

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser

FOCUS_IS_IN_DIALOG = """() => document.activeElement === document.body
    || document.activeElement.closest("dialog") !== null"""


def test_dialog_traps_the_focus_and_returns_it(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    launch(alice, name="checkout")
    sign_in(page, alice)
    opener = page.get_by_role("link", name="Reset data")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Reset data in checkout?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS_IS_IN_DIALOG), "elements behind the dialog can't be focused"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_portal_works_with_only_the_keyboard(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sign_in(page, alice)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    # While the page loads, the skip link moves the focus late, away from a field focused since.
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("by-hand")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="by-hand")).to_be_visible()
    page.locator("summary", has_text="Extend").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="30 min")).to_be_hidden()
    expect(page.locator("summary", has_text="Extend")).to_be_focused()


def test_reduced_motion_disables_transitions(page: Page, alice: User, watch: Watch) -> None:
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, alice)
    longest = """() => Math.max(...[...document.querySelectorAll("*")].map(
        element => parseFloat(getComputedStyle(element).transitionDuration)))"""
    assert page.evaluate(longest) < 0.001


def test_hovering_a_time_shows_the_full_date(page: Page, alice: User, watch: Watch) -> None:
    launch(alice)
    sign_in(page, alice)
    assert re.fullmatch(
        r"\d{1,2} \w+ \d{4}, \d\d:\d\d:\d\d .+",
        str(page.locator(".status-text time").first.get_attribute("title")),
    )
