"""The portal in use by people who don't use a mouse, or who want less motion."""

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

NOT_BEHIND = """() => document.activeElement === document.body
    || document.activeElement.closest("dialog") !== null"""


def test_a_dialog_takes_the_focus_and_gives_it_back(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    launch(alice, name="checkout")
    sign_in(page, alice)
    opener = page.get_by_role("link", name="Destroy")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Destroy checkout?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(NOT_BEHIND), "what is behind the dialog can't be reached"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_portal_is_used_with_the_keyboard_alone(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sign_in(page, alice)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    # A page that still loads takes the focus there late, out of a field that was reached meanwhile.
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


def test_who_wants_less_motion_gets_none(page: Page, alice: User, watch: Watch) -> None:
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, alice)
    longest = """() => Math.max(...[...document.querySelectorAll("*")].map(
        element => parseFloat(getComputedStyle(element).transitionDuration)))"""
    assert page.evaluate(longest) < 0.001


def test_the_time_in_full_is_told_on_hover(page: Page, alice: User, watch: Watch) -> None:
    launch(alice)
    sign_in(page, alice)
    assert re.fullmatch(
        r"\d{1,2} \w+ \d{4}, \d\d:\d\d:\d\d .+",
        str(page.locator(".status-text time").first.get_attribute("title")),
    )
