"""Every page is accessible in every state, and its buttons work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.button_inventory import BUTTONS, Button, find_labels
from tests.browser.page_states import PAGE_STATES, PORTAL, PageState
from tests.browser.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.page_runner import PageRunner

pytestmark = pytest.mark.browser

SEVERE_IMPACTS = {"serious", "critical"}
ALL_RULES: dict[str, Any] = {}
CONTRAST_RULES = {"runOnly": ["color-contrast"]}
TARGET_SIZE_RULES = {"runOnly": ["target-size"]}
PERMISSIONS = ["clipboard-read", "clipboard-write"]
WITH_BUTTONS = {button.state for button in BUTTONS}
CHECKED = [state for state in PAGE_STATES.values() if state in PORTAL or state.name in WITH_BUTTONS]


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


def severe_violations(page: Page) -> list[str]:
    """Check the wide light page, then its contrast in dark mode, then target sizes on a phone."""
    page.evaluate(Axe().axe_script)
    wide = page.viewport_size
    assert wide
    found = findings(page, ALL_RULES)
    page.emulate_media(color_scheme="dark")
    found += findings(page, CONTRAST_RULES)
    page.set_viewport_size({"width": 360, "height": 820})
    found += findings(page, TARGET_SIZE_RULES)
    page.set_viewport_size(wide)
    page.emulate_media(color_scheme="light")
    return found


def failure_of(button: Button, page: Page) -> str:
    """Return a description of the failure, or an empty string if the button works."""
    page.set_default_timeout(PATIENCE)
    try:
        button.check(page)
    except Exception as failed:  # noqa: BLE001 - the other buttons are tested, too
        text = page.locator("body").inner_text()[:800]
        return f"{button.label}: {failed}\nThe page says: {text}"
    return ""


def buttons_of(state: PageState, script: bool) -> list[Button]:
    return [one for one in BUTTONS if one.state == state.name and one.script in (script, None)]


def failures(page_runner: PageRunner, state: PageState) -> Iterator[str]:
    """Check the page with JavaScript, then each of its buttons on a newly opened page."""
    first, *others = buttons_of(state, script=True) or [None]
    with page_runner.open(state, permissions=PERMISSIONS) as page:
        if state in PORTAL:
            listed = {button.label for button in BUTTONS}
            yield from (
                f"{one}: not listed in button_inventory.py" for one in find_labels(page) - listed
            )
            yield from severe_violations(page)
        if first:
            yield failure_of(first, page)
    for button in others:
        assert button
        with page_runner.open(state, permissions=PERMISSIONS) as page:
            yield failure_of(button, page)


def failures_without_javascript(page_runner: PageRunner, state: PageState) -> Iterator[str]:
    for button in buttons_of(state, script=False):
        opened = PAGE_STATES[button.page or state.name]
        with page_runner.open(opened, java_script_enabled=False, permissions=PERMISSIONS) as page:
            yield failure_of(button, page)


@pytest.mark.parametrize("state", CHECKED, ids=lambda state: state.name)
def test_page_is_accessible_and_its_buttons_are_listed_and_work(
    page_runner: PageRunner, state: PageState
) -> None:
    assert "\n\n".join(filter(None, failures(page_runner, state))) == ""


@pytest.mark.parametrize(
    "state", [one for one in CHECKED if buttons_of(one, script=False)], ids=lambda state: state.name
)
def test_buttons_work_without_javascript(page_runner: PageRunner, state: PageState) -> None:
    assert "\n\n".join(filter(None, failures_without_javascript(page_runner, state))) == ""
