"""Every page is accessible in every state, and its buttons work.

Each state is checked in one appearance, in turn, and plain links and forms are not clicked again
without JavaScript. Tests marked `exhaustive` check all appearances, and every button without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.button_inventory import BUTTONS, Button, change_nothing, find_labels
from tests.browser.page_runner import VIEWPORT
from tests.browser.page_states import PAGE_STATES, PORTAL, PageState
from tests.browser.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.page_runner import PageRunner

pytestmark = pytest.mark.browser

SEVERE_IMPACTS = {"serious", "critical"}
PERMISSIONS = ["clipboard-read", "clipboard-write"]
WITH_BUTTONS = {button.state for button in BUTTONS}
CHECKED = [state for state in PAGE_STATES.values() if state in PORTAL or state.name in WITH_BUTTONS]


@cache
def axe_script() -> str:
    return Axe().axe_script


def findings(page: Page, rules: dict[str, Any]) -> list[str]:
    """Return the severe violations that the injected axe script finds, with their elements."""
    options = {"resultTypes": ["violations"]} | rules
    found = page.evaluate(f"axe.run({json.dumps(options)})")["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for rule in found
        if rule["impact"] in SEVERE_IMPACTS
        for node in rule["nodes"]
    ]


@dataclass(frozen=True)
class Appearance:
    """A color scheme and a width, in pixels, with the rules of axe that apply in them."""

    scheme: Literal["light", "dark"]
    width: int
    rules: dict[str, Any]

    def severe_violations(self, page: Page) -> list[str]:
        page.emulate_media(color_scheme=self.scheme)
        page.set_viewport_size({"width": self.width, "height": 820})
        page.evaluate(axe_script())
        return findings(page, self.rules)


APPEARANCES = [
    Appearance("light", 1280, {}),
    Appearance("dark", 1280, {}),
    Appearance("light", 360, {"rules": {"target-size": {"enabled": True}}}),
]


def buttons_of(state: PageState, script: bool) -> list[Button]:
    return [one for one in BUTTONS if one.state == state.name and one.script in (script, None)]


def by_opening(buttons: list[Button]) -> list[list[Button]]:
    """Return the buttons to click on each opening of the page: only the last one may change it."""
    together = [one for one in buttons if one.keeps_page]
    others = [one for one in buttons if not one.keeps_page]
    simple = [one for one in others if one.prepare is change_nothing or not together]
    return [together + simple[:1], *([one] for one in others if one not in simple[:1])]


class Clicks:
    """Clicks buttons, and records failures and which clicks the portal's scripts handle."""

    def __init__(self, page_runner: PageRunner) -> None:
        self.page_runner = page_runner
        self.failures: list[str] = []
        self.scripted: set[Button] = set()

    def click(self, buttons: list[Button], page: Page) -> None:
        page.set_default_timeout(PATIENCE)
        for button in buttons:
            try:
                if button.check(page):
                    self.scripted.add(button)
            except Exception as failed:  # noqa: BLE001 - the other buttons are tested, too
                text = page.locator("body").inner_text()[:800]
                self.failures.append(f"{button.label}: {failed}\nThe page says: {text}")

    def click_without_javascript(self, state: PageState, buttons: list[Button]) -> None:
        for button in buttons:
            opened = PAGE_STATES[button.page or state.name]
            with self.page_runner.open(
                opened, java_script_enabled=False, permissions=PERMISSIONS
            ) as page:
                self.click([button], page)


@pytest.mark.parametrize("state", CHECKED, ids=lambda state: state.name)
def test_page_is_accessible_and_its_buttons_are_listed_and_work(
    page_runner: PageRunner, state: PageState
) -> None:
    """Click each button once, and again without JavaScript if a script handles the click."""
    clicks = Clicks(page_runner)
    appearance = APPEARANCES[CHECKED.index(state) % len(APPEARANCES)]
    first, *others = by_opening(buttons_of(state, script=True))
    with page_runner.open(state, permissions=PERMISSIONS) as page:
        if state in PORTAL:
            listed = {button.label for button in BUTTONS}
            assert find_labels(page) - listed == set(), "not listed in button_inventory.py"
            assert appearance.severe_violations(page) == []
            page.set_viewport_size(VIEWPORT)
        clicks.click(first, page)
    for buttons in others:
        with page_runner.open(state, permissions=PERMISSIONS) as page:
            clicks.click(buttons, page)
    clicks.click_without_javascript(
        state,
        [
            button
            for button in buttons_of(state, script=False)
            if button.script is False or button.page or button in clicks.scripted
        ],
    )
    assert "\n\n".join(clicks.failures) == ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("state", CHECKED, ids=lambda state: state.name)
def test_page_is_accessible_in_every_appearance_and_works_without_javascript(
    page_runner: PageRunner, state: PageState
) -> None:
    clicks = Clicks(page_runner)
    if state in PORTAL:
        with page_runner.open(state, permissions=PERMISSIONS) as page:
            found = [one.severe_violations(page) for one in APPEARANCES]
            assert found == [[] for _ in APPEARANCES]
    clicks.click_without_javascript(state, buttons_of(state, script=False))
    assert "\n\n".join(clicks.failures) == ""
