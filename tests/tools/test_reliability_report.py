"""`docs/reliability.md` shows the stored results of the tools."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools import reliability_report
from tests.tools.reliability_report import Report, Table, TargetResult, load, publish

pytestmark = pytest.mark.tools

TEXT = """\
# Reliability

<!-- part: chaos -->
<!-- end: chaos -->

Text between the parts.

<!-- part: isolation -->
<!-- end: isolation -->
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "reliability.md"
    page.write_text(TEXT)
    return page


def report(measured: str) -> Report:
    targets = [TargetResult("left over", "0", measured, met=measured == "0")]
    tables = [Table("Recovery", ["of", "s"], [["the engine", "1.2"]])]
    return Report("make chaos N=5 SEED=1", targets, tables, {"commit": "abc"})


def test_a_report_is_written_into_its_own_part_of_the_page(page: Path) -> None:
    publish("chaos", report("0"), page)
    publish("isolation", report("3"), page)

    first, second = page.read_text().split("Text between the parts.")
    assert "| left over | 0 | 0 | pass |" in first
    assert "| left over | 0 | 3 | **fail** |" in second
    assert "`make chaos N=5 SEED=1`: commit abc." in first
    assert "| the engine | 1.2 |" in first


def test_a_new_report_replaces_the_previous_one(page: Path) -> None:
    publish("chaos", report("3"), page)
    publish("chaos", report("0"), page)

    assert "fail" not in page.read_text()
    assert load("chaos", page) == report("0")


def test_a_part_that_is_not_on_the_page_is_an_error(page: Path) -> None:
    with pytest.raises(ValueError, match="part: weather"):
        publish("weather", report("0"), page)


@pytest.mark.parametrize(
    "file", sorted(reliability_report.PAGE.with_suffix("").glob("*.json")), ids=str
)
def test_the_published_page_matches_the_stored_results(file: Path) -> None:
    text = reliability_report.PAGE.read_text()
    assert reliability_report.with_report(text, file.stem, load(file.stem)) == text


def test_every_test_named_in_the_table_of_failure_modes_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", reliability_report.PAGE.read_text()))
    tests = "\n".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
    assert named
    assert named - set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE)) == set()
