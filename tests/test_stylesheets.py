"""Stylesheets are whole: a rule that lost its end takes those after it along, unseen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parent.parent / "static"


@pytest.mark.parametrize("sheet", sorted(STATIC.glob("*.css")), ids=lambda sheet: sheet.name)
def test_every_rule_ends_before_the_next_section_begins(sheet: Path) -> None:
    depth = 0
    for number, line in enumerate(sheet.read_text().splitlines(), 1):
        if re.match(r"/\* --- |\S.*\{$", line):
            assert depth == 0, f"{sheet.name}:{number}: something above it has no end"
        depth += line.count("{") - line.count("}")
    assert depth == 0
