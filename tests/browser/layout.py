"""Helpers for layout shifts and installed fonts."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, Route

VARIABLES = Path(__file__).resolve().parents[2] / "static" / "styles" / "variables.css"

FONTS: dict[str, dict[str, str]] = {
    "with Inter": {},
    "without": {"sans": "sans-serif", "mono": "monospace"},
}
"""Font families that replace those of the stylesheet, by test id."""

SHIFTS = """
window.shifts = [];
new PerformanceObserver(list => list.getEntries()
    .filter(shift => !shift.hadRecentInput)
    .forEach(shift => shifts.push(shift.sources.map(source => source.node?.outerHTML)))
).observe({type: "layout-shift", buffered: true});
"""


def use_fonts(page: Page, name: str) -> None:
    """Replace the font families of the stylesheet."""
    css = VARIABLES.read_text()
    for kind, family in FONTS[name].items():
        css, count = re.subn(rf"--font-{kind}: [^;]+;", f"--font-{kind}: {family};", css)
        assert count == 1

    def answer(route: Route) -> None:
        route.fulfill(body=css, content_type="text/css")

    page.route("**/styles/variables*.css", answer)


def reload_overview(page: Page) -> None:
    """Trigger the request that the dashboard sends every 10 seconds."""
    with page.expect_response(lambda answer: "/overview/" in answer.url):
        page.evaluate("htmx.trigger(document.body, 'sandboxes-changed')")
