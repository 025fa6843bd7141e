"""Stylesheets have no unclosed rule, which would silently include those after it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHEETS = sorted((ROOT / "static" / "styles").glob("*.css"))


def unclosed_rules(sheet: Path) -> list[str]:
    """Return the section lines that follow an unclosed rule."""
    found, depth = [], 0
    for number, line in enumerate([*sheet.read_text().splitlines(), "/* --- end"], 1):
        if re.match(r"/\* --- |\S.*\{$", line) and depth:
            found.append(f"{sheet.name}:{number}")
            depth = 0
        depth += line.count("{") - line.count("}")
    return found


def test_every_rule_ends_before_the_next_section_begins() -> None:
    assert [place for sheet in SHEETS for place in unclosed_rules(sheet)] == []


def test_every_stylesheet_is_linked_by_a_page() -> None:
    pages = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "sandboxes" / "admin").glob("*.py")]
    linked = set(re.findall(r'"styles/([\w-]+\.css)"', "".join(page.read_text() for page in pages)))
    assert linked == {sheet.name for sheet in SHEETS}
