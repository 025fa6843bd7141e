"""Pages and states work for keyboards, screen readers and weak eyes, as far as axe can tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.acting import launch
from tests.browser.conftest import Watch, sign_in
from tests.browser.stops import PORTAL, Guide

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import Browser
    from pytest_django.live_server_helper import LiveServer

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser

GRAVE = {"serious", "critical"}
ALL: dict[str, Any] = {}
CONTRAST = {"runOnly": ["color-contrast"]}
SIZE = {"runOnly": ["target-size"]}


def findings(page: Page, rules: dict[str, Any]) -> list[str]:
    """What axe holds to be grave, with the elements that it means."""
    found = Axe().run(page, options={"resultTypes": ["violations"]} | rules).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def grave(page: Page) -> list[str]:
    """Of the page as it is wide and light, of its colours when dark, of its targets on a phone."""
    found = findings(page, ALL)
    page.emulate_media(color_scheme="dark")
    found += findings(page, CONTRAST)
    page.set_viewport_size({"width": 360, "height": 820})
    return found + findings(page, SIZE)


def test_axe_finds_nothing_grave_on_any_page(browser: Browser, server: LiveServer) -> None:
    guide = Guide(browser, str(server))
    found = {}
    for stop in PORTAL:
        with guide.at(stop) as page:
            found[stop.name] = grave(page)
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_dialog_takes_the_focus_and_gives_it_back(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    launch(alice, name="checkout")
    sign_in(page, alice)
    opener = page.get_by_role("link", name="Destroy")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Destroy checkout?")
    expect(dialog.get_by_role("button", name="Keep it as it is")).to_be_focused()
    for _ in range(6):
        page.keyboard.press("Tab")
        inside = (
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
        assert page.evaluate(inside), "what is behind the dialog can't be reached"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_portal_is_used_with_the_keyboard_alone(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sign_in(page, alice)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
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
        str(page.locator(".live-words time").first.get_attribute("title")),
    )
