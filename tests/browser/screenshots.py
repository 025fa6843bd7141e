"""Take screenshots of every page and state, in light and dark, wide and narrow.

`make screenshots` writes all of them to `var/screenshots`, which git ignores. With `DOCS=1` it
refreshes only the few that the documentation uses, in `docs/screenshots`: as WebP, which takes half
the space.

Not collected with the tests, because a screenshot can't fail; a person has to look at it.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.browser.page_states import PAGE_STATES

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.page_runner import PageRunner
    from tests.fakes.friendbot import Friendbot

ROOT = Path(__file__).resolve().parents[2]
ALL_FOLDER = ROOT / "var" / "screenshots"
DOCS_FOLDER = ROOT / "docs" / "screenshots"
IN_DOCS = {
    "dashboard": ["light", "dark"],
    "sandbox-measured": ["light"],
    "explorer": ["light"],
    "admin": ["light"],
}
"""The screenshots that stay in the repository, always wide: color schemes by state."""
WIDTHS = {"wide": 1280, "narrow": 360}
VIEWPORT_HEIGHT = 820
MAX_HEIGHT = 1500
"""In pixels; a screenshot is cropped below it."""
PALETTE_SIZE = 256
"""Enough colors for flat surfaces and anti-aliased text, at a third of the file size."""


def take(page: Page, path: Path, scheme: str, width: int) -> None:
    """Save a screenshot of the page in one color scheme and width."""
    # Without motion, controls have their final colors when the screenshot is taken.
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": VIEWPORT_HEIGHT})
    page.evaluate("scrollTo(0, 0)")
    save(page.screenshot(full_page=True), path)


def save(screenshot: bytes, path: Path) -> None:
    """Crop the screenshot, reduce its colors and write it, as small as its format allows."""
    with Image.open(io.BytesIO(screenshot)) as image:
        cropped = image.convert("RGB").crop((0, 0, image.width, min(image.height, MAX_HEIGHT)))
    # Maximum coverage keeps rare colors, such as a red word, and the exact color of large areas.
    coverage, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    reduced = cropped.quantize(PALETTE_SIZE, method=coverage, kmeans=1, dither=dither)
    if path.suffix == ".webp":
        reduced.convert("RGB").save(path, lossless=True, quality=100, method=6)
    else:
        reduced.save(path, optimize=True)


def empty(folder: Path) -> Path:
    """Create the folder if necessary, delete its screenshots and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.*"):
        old.unlink()
    return folder


def test_screenshots_are_taken(page_runner: PageRunner, bot: Friendbot) -> None:
    if os.environ.get("DOCS"):
        folder = empty(DOCS_FOLDER)
        for name, schemes in IN_DOCS.items():
            with page_runner.open(PAGE_STATES[name]) as page:
                for scheme in schemes:
                    take(page, folder / f"{name}-{scheme}.webp", scheme, WIDTHS["wide"])
    else:
        folder = empty(ALL_FOLDER)
        for name, state in PAGE_STATES.items():
            with page_runner.open(state) as page:
                for scheme in ("light", "dark"):
                    for width, pixels in WIDTHS.items():
                        take(page, folder / f"{name}-{scheme}-{width}.png", scheme, pixels)
