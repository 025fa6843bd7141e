"""What `make bench` makes of its figures: percentiles, verdicts, the page."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.bench import machine, report, results, targets

pytestmark = pytest.mark.tools

SAMPLE: results.Results = {
    "quick": False,
    "machine": {"processor": "2 cores, some", "commit": "abc"},
    "launches": {
        "cold": {
            "seconds": [1.0, 1.2],
            "destroy": [0.4, 0.5],
            "step network": [0.1, 0.1],
            "step containers": [0.6, 0.7],
            "step ready": [0.2, 0.2],
        },
        "floor": {"seconds": [0.9, 1.0], "made": [0.7, 0.7], "removal": [0.3, 0.3]},
        "floor_lent": {"seconds": [0.7, 0.7], "made": [0.5, 0.5], "removal": [0.3, 0.3]},
        "peer": {"seconds": [6.0, 6.2], "command": [1.0, 1.1], "down": [0.9, 0.9]},
        "peer_waiting": [12.0],
        "compose": "1.29.2",
    },
    "rates": [{"at_once": 4, "elapsed": 6.0, "seconds": [2.0, 2.5, 3.0, 3.0]}],
    "reset": {"seconds": [0.2, 0.3], "longest": [0.1, 0.1], "refused": 0, "asked": 40},
    "pages": {
        "past": {
            "3": {
                page: {"client": [0.005, 0.006], "server": [0.004, 0.005]}
                for page in ("dashboard", "card poll", "admin list")
            },
            "100000": {
                page: {"client": [0.006, 0.007], "server": [0.005, 0.006]}
                for page in ("dashboard", "card poll", "admin list")
            },
        },
        "queries": {"1": 12, "3": 12},
    },
    "crowd": {
        "count": 100,
        "elapsed": 80.0,
        "answered": 100,
        "available_mb_each": {"10": 33.0, "100": 35.0},
        "mb_each": [30.0, 31.0],
        "services": {"api": [13.0, 14.0], "db": [17.0, 17.0]},
        "sweep": [
            {"live": 10, "seconds": [0.2, 0.1], "errors": [], "calls": ["GET /info"]},
            {"live": 100, "seconds": [0.5, 0.4], "errors": [], "calls": ["GET /info"]},
        ],
    },
    "warm": {
        "pool": 10,
        "quiet": {"seconds": [0.02] * 50, "missed": 0},
        "busy": {"seconds": [0.03] * 50, "missed": 0},
    },
    "processes": {"web": 120.0, "worker": 90.0, "reaper": 70.0},
}


def sample(**changes: Any) -> results.Results:
    """The sample with some figures replaced: `launches__cold__seconds=[…]`."""
    changed = deepcopy(SAMPLE)
    for name, value in changes.items():
        *way, last = name.split("__")
        inner: Any = changed
        for step in way:
            inner = inner[int(step) if step.isdigit() and isinstance(inner, list) else step]
        inner[last] = value
    return changed


def words(found: results.Results) -> dict[str, bool | None]:
    return {bar.what: bar.verdict(found).met for bar in targets.BARS}


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7], 50, 7),
        ([7], 95, 7),
        ([4, 1, 3, 2], 50, 2.5),
        (list(range(101)), 95, 95),
        ([0, 10], 95, 9.5),
        ([1, 2, 3], 0, 1),
        ([1, 2, 3], 100, 3),
    ],
)
def test_percentiles_are_those_of_the_books(
    values: list[float], percent: float, expected: float
) -> None:
    assert results.percentile(values, percent) == pytest.approx(expected)


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        results.percentile([], 50)


def test_every_bar_is_met_by_results_that_are_good_enough() -> None:
    assert words(SAMPLE) == {bar.what: True for bar in targets.BARS}


MISSED = {
    "warm launch: the request is answered with `running`": {"warm__quiet__seconds": [0.06] * 50},
    "the same, while the pool is being filled again": {"warm__busy__missed": 1},
    "cold launch ÷ floor, by turns": {"launches__floor__seconds": [0.7, 0.8]},
    "peer ÷ cold launch": {"launches__peer__seconds": [4.0, 4.0]},
    "peer ÷ warm launch": {"warm__quiet__seconds": [0.1] * 50},
    "destroy: asked, until nothing is left": {"launches__cold__destroy": [0.9, 0.9]},
    "reset: asked, until it is done": {"reset__seconds": [0.6, 0.6]},
    "sandboxes at once": {"crowd__answered": 99},
    "memory of one of them": {"crowd__available_mb_each": {"10": 50.0, "100": 61.0}},
    "the portal's processes together, idle": {"processes": {"web": 351.0}},
    "sweep over 100 live and 100,000 past": {"crowd__sweep__1__calls": ["GET /info"] * 2},
    "dashboard with 3 cards, in the server": {"pages__queries": {"1": 12, "3": 14}},
    "a card's poll with nothing new": {"pages__past__3__card poll__client": [0.009, 0.009]},
    "admin's list of 100,000 sandboxes": {"pages__past__100000__admin list__client": [0.3, 0.3]},
}


def test_every_bar_has_results_that_miss_it() -> None:
    assert set(MISSED) == {bar.what for bar in targets.BARS}


@pytest.mark.parametrize("what", MISSED)
def test_a_bar_that_is_missed_is_shown_as_such_with_what_stands_in_the_way(what: str) -> None:
    found = sample(**MISSED[what])
    assert words(found)[what] is False
    [row] = [row for row in report.bars(found) if row[0] == what]
    assert row[3] == "**not met**"
    assert row[4]


def test_results_of_too_few_repetitions_meet_no_bar_that_names_their_number() -> None:
    quick = sample(
        warm__quiet__seconds=[0.02] * 5,
        crowd__count=20,
        crowd__answered=20,
        crowd__available_mb_each={"20": 33.0},
    )
    quick["crowd"]["sweep"][1]["live"] = 20
    unknown = {what for what, met in words(quick).items() if met is None}
    assert unknown == {
        "warm launch: the request is answered with `running`",
        "sandboxes at once",
        "sweep over 100 live and 100,000 past",
    }


@pytest.mark.parametrize("name", [name for name in SAMPLE if name not in {"quick", "machine"}])
def test_a_measurement_that_failed_leaves_the_rest_of_the_page(name: str, tmp_path: Path) -> None:
    found = sample(failed={name: "it broke"})
    del found[name]
    report.write(found, tmp_path / "performance.md")
    page = (tmp_path / "performance.md").read_text()
    assert f"Measuring {name} failed: it broke" in page
    assert page.count("\n| ") > 20


def test_the_page_says_everything_and_links_only_to_what_is_there(tmp_path: Path) -> None:
    report.write(SAMPLE, tmp_path / "performance.md")
    page = (tmp_path / "performance.md").read_text()
    for bar in targets.BARS:
        assert f"| {bar.what} | {bar.asked} |" in page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(pictures) == 5
    for picture in pictures:
        drawn = (tmp_path / picture).read_text()
        assert drawn.startswith("<svg")
        assert "<script" not in drawn
        assert not re.findall(r"(?:href|url\(|src)=?[\"'(]*https?:", drawn)


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    found = {}
    for name in ("one", "other"):
        report.write(SAMPLE, tmp_path / name / "performance.md")
        files = sorted((tmp_path / name).rglob("*.*"))
        found[name] = [(file.name, file.read_text()) for file in files]
    assert found["one"] == found["other"]


def test_results_can_be_read_again_as_they_were_kept(tmp_path: Path) -> None:
    results.save(SAMPLE, tmp_path / "deep" / "results.json")
    assert results.load(tmp_path / "deep" / "results.json") == json.loads(json.dumps(SAMPLE))


@pytest.mark.engine
def test_a_machine_without_room_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "meminfo", lambda _: 1024.0)
    assert machine.refusal(100).endswith("End something, or take QUICK=1.")
    monkeypatch.setattr(machine, "meminfo", lambda _: 100_000.0)
    monkeypatch.setattr(machine, "DISK_GB", 0)
    assert machine.refusal(100) == ""
