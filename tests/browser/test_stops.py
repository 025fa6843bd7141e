"""What holds for every page and state: everybody can use it, and its buttons do what they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.buttons import BUTTONS, Button, labels
from tests.browser.stops import PORTAL, STOPS, Stop
from tests.browser.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.guide import Guide

pytestmark = pytest.mark.browser

GRAVE = {"serious", "critical"}
ALL: dict[str, Any] = {}
CONTRAST = {"runOnly": ["color-contrast"]}
SIZE = {"runOnly": ["target-size"]}
WORDS = {True: "with JavaScript", False: "without"}
TRIED = dict.fromkeys(
    (button.stop, script)
    for button in BUTTONS
    for script in WORDS
    if button.script in (script, None)
)


def findings(page: Page, rules: dict[str, Any]) -> list[str]:
    """What axe, which is in the page already, holds to be grave, with the elements it means."""
    options = {"resultTypes": ["violations"]} | rules
    found = page.evaluate(f"axe.run({json.dumps(options)})")["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def grave(page: Page) -> list[str]:
    """Of the page as it is wide and light, of its colours when dark, of its targets on a phone."""
    page.evaluate(Axe().axe_script)
    found = findings(page, ALL)
    page.emulate_media(color_scheme="dark")
    found += findings(page, CONTRAST)
    page.set_viewport_size({"width": 360, "height": 820})
    return found + findings(page, SIZE)


@pytest.mark.parametrize("stop", PORTAL, ids=lambda stop: stop.name)
def test_it_shuts_nobody_out_and_its_buttons_are_on_the_list(guide: Guide, stop: Stop) -> None:
    """Axe finds nothing grave."""
    with guide.at(stop) as page:
        unknown = labels(page) - {button.label for button in BUTTONS}
        assert unknown == set(), "say in buttons.py what they do"
        assert grave(page) == []


def failure_of(guide: Guide, button: Button, script: bool) -> str:
    """What went wrong; empty if it does what it says."""
    stop = STOPS[button.stop if script else button.page or button.stop]
    rights = ["clipboard-read", "clipboard-write"]
    with guide.at(stop, java_script_enabled=script, permissions=rights) as page:
        page.set_default_timeout(PATIENCE)
        try:
            button.try_it(page)
        except Exception as failed:  # noqa: BLE001 - the others are tried all the same
            return f"{failed}\nThe page says: {page.locator('body').inner_text()[:800]}"
    return ""


@pytest.mark.parametrize(("stop", "script"), TRIED, ids=lambda value: WORDS.get(value, value))
def test_its_buttons_do_what_they_say(guide: Guide, stop: str, script: bool) -> None:
    tried = [one for one in BUTTONS if one.stop == stop and one.script in (script, None)]
    failures = [(button, failure_of(guide, button, script)) for button in tried]
    told = [f"{button.label}: {why}" for button, why in failures if why]
    assert "\n\n".join(told) == ""
