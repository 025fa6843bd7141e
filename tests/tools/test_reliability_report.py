"""The page of what was measured says what the commands found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools import reliability_report
from tests.tools.reliability_report import Bar, Results, Table, publish, published

pytestmark = pytest.mark.tools

TEXT = """\
# Reliability

<!-- part: chaos -->
<!-- end: chaos -->

Prose in between.

<!-- part: isolation -->
<!-- end: isolation -->
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "reliability.md"
    page.write_text(TEXT)
    return page


def results(measured: str) -> Results:
    bars = [Bar("left over", "0", measured, met=measured == "0")]
    tables = [Table("Recovery", ["of", "s"], [["the engine", "1.2"]])]
    return Results("make chaos N=5 SEED=1", bars, tables, {"commit": "abc"})


def test_what_was_found_stands_in_its_own_part_of_the_page(page: Path) -> None:
    publish("chaos", results("0"), page)
    publish("isolation", results("3"), page)

    first, second = page.read_text().split("Prose in between.")
    assert "| left over | 0 | 0 | ✓ |" in first
    assert "| left over | 0 | 3 | ✗ |" in second
    assert "`make chaos N=5 SEED=1`: commit abc." in first
    assert "| the engine | 1.2 |" in first


def test_it_takes_the_place_of_what_was_found_before(page: Path) -> None:
    publish("chaos", results("3"), page)
    publish("chaos", results("0"), page)

    assert "✗" not in page.read_text()
    assert published("chaos", page) == results("0")


def test_a_part_that_the_page_has_no_place_for_is_refused(page: Path) -> None:
    with pytest.raises(ValueError, match="part: weather"):
        publish("weather", results("0"), page)


@pytest.mark.parametrize(
    "file", sorted(reliability_report.PAGE.with_suffix("").glob("*.json")), ids=str
)
def test_the_page_says_what_its_commands_found(file: Path) -> None:
    text = reliability_report.PAGE.read_text()
    assert reliability_report.filled(text, file.stem, published(file.stem)) == text


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", reliability_report.PAGE.read_text()))
    tests = "\n".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
    assert named
    assert named - set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE)) == set()
