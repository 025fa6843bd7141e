"""Pictures of every page and state, light and dark, wide and narrow: `make screenshots`.

Not collected with the tests, for a picture can't fail; somebody has to look at it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.browser.stops import STOPS

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.guide import Guide
    from tests.friendbots import Friendbot

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
WIDTHS = {"wide": 1280, "narrow": 360}
HEIGHT = 820
TALLEST = 1500
"""Pixels; what is further down was in sight before."""
COLOURS = 256
"""Enough for flat surfaces and the edges of letters, at a third of the size."""


def keep(page: Page, name: str) -> None:
    """The page as it is, in all four looks."""
    for scheme in ("light", "dark"):
        # Without motion, controls have their colours when the picture is taken.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        for width, pixels in WIDTHS.items():
            page.set_viewport_size({"width": pixels, "height": HEIGHT})
            page.evaluate("scrollTo(0, 0)")
            save(page.screenshot(full_page=True), FOLDER / f"{name}-{scheme}-{width}.png")


def save(picture: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(picture)) as image:
        seen = image.convert("RGB").crop((0, 0, image.width, min(image.height, TALLEST)))
    # Colours that few pixels have are kept (a red word stays red), and large surfaces their own.
    coverage, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    seen.quantize(COLOURS, method=coverage, kmeans=1, dither=dither).save(path, optimize=True)


def test_every_stop_is_kept(guide: Guide, bot: Friendbot) -> None:
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for stop in STOPS.values():
        with guide.at(stop) as page:
            keep(page, stop.name)
