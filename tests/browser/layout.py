"""Helpers for layout shifts and installed fonts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

VARIABLES = Path(__file__).resolve().parents[2] / "static" / "styles" / "variables.css"

FONTS: dict[str, dict[str, str]] = {
    "with Inter": {},
    "without": {"sans": "sans-serif", "mono": "monospace"},
}
"""Font families that replace those of the stylesheet, by test id."""

SHIFTS = """
window.shifts = [];
window.shiftsAfterInput = [];
window.answeredAt = -Infinity;
document.addEventListener("htmx:beforeSwap", ({detail}) => {
    if (detail.requestConfig.triggeringEvent?.isTrusted) answeredAt = performance.now();
});
new PerformanceObserver(list => list.getEntries().forEach(
    shift => {
        const expected = shift.hadRecentInput || Math.abs(shift.startTime - answeredAt) < 500;
        (expected ? shiftsAfterInput : shifts).push(
            {at: shift.startTime, what: shift.sources.map(source => source.node?.outerHTML)}
        );
    }
)).observe({type: "layout-shift", buffered: true});
"""
"""Records layout shifts as browsers count them, and apart those within 0.5 s after input or after
the answer to it, which may be late on a busy machine."""

WIDTHS_AND_FONTS = pytest.mark.parametrize(
    ("width", "fonts"),
    [
        (1280, "with Inter"),
        (360, "without"),
        pytest.param(1280, "without", marks=pytest.mark.exhaustive),
        pytest.param(360, "with Inter", marks=pytest.mark.exhaustive),
    ],
)


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
