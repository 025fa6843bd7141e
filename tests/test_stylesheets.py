"""Stylesheets are whole: a rule that lost its end takes those after it along, unseen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHEETS = sorted((ROOT / "static" / "styles").glob("*.css"))


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_every_rule_ends_before_the_next_section_begins(sheet: Path) -> None:
    depth = 0
    for number, line in enumerate(sheet.read_text().splitlines(), 1):
        if re.match(r"/\* --- |\S.*\{$", line):
            assert depth == 0, f"{sheet.name}:{number}: something above it has no end"
        depth += line.count("{") - line.count("}")
    assert depth == 0


def test_every_sheet_is_linked_by_a_page() -> None:
    pages = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "sandboxes" / "admin").glob("*.py")]
    linked = set(re.findall(r'"styles/([\w-]+\.css)"', "".join(page.read_text() for page in pages)))
    assert linked == {sheet.name for sheet in SHEETS}
