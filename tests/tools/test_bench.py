"""What `make bench` computes from its figures: percentiles, targets, the page."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.bench import machine, report, results, targets

pytestmark = pytest.mark.tools

PAGES = (
    "dashboard",
    "card poll",
    "dashboard poll",
    "warnings poll",
    "history",
    "API list, 20 in summary",
    "admin list",
)
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
        "baseline": {"seconds": [0.9, 1.0], "created": [0.7, 0.7], "removal": [0.3, 0.3]},
        "baseline_full_core": {"seconds": [0.7, 0.7], "created": [0.5, 0.5], "removal": [0.3, 0.3]},
        "compose": {"seconds": [6.0, 6.2], "command": [1.0, 1.1], "down": [0.9, 0.9]},
        "compose_health_check": [12.0],
        "compose_version": "1.29.2",
    },
    "rates": [{"concurrency": 4, "elapsed": 6.0, "seconds": [2.0, 2.5, 3.0, 3.0]}],
    "reset": {
        "seconds": [0.2, 0.3],
        "longest_wait": [0.1, 0.1],
        "failed_requests": 0,
        "requests": 40,
    },
    "pages": {
        "by_ended_count": {
            "3": {
                page: {
                    "client": [0.005, 0.006],
                    "server": [0.004, 0.005],
                    "cpu": [0.003],
                    "bytes": [9000],
                }
                for page in PAGES
            },
            "100000": {
                page: {
                    "client": [0.006, 0.007],
                    "server": [0.005, 0.006],
                    "cpu": [0.003],
                    "bytes": [9000],
                }
                for page in PAGES
            },
        },
        "queries": {"1": 12, "3": 12},
    },
    "density": {
        "count": 100,
        "elapsed": 80.0,
        "seeded": 100,
        "available_mb_per_sandbox": {"10": 33.0, "100": 35.0},
        "mb_per_sandbox": [30.0, 31.0],
        "services": {"api": [13.0, 14.0], "db": [17.0, 17.0]},
        "sweeps": [
            {
                "live": live,
                "seconds": [0.5, 0.4],
                "cpu_seconds": [0.2, 0.09, 0.08],
                "errors": [],
                "calls": ["GET /info"],
            }
            for live in (10, 100)
        ],
    },
    "expiry": {"due": 50, "seconds": [12.0], "errors": [], "left": 0},
    "warm": {
        "pool_size": 10,
        "idle": {"seconds": [0.02] * 50, "missed": 0},
        "refilling": {"seconds": [0.03] * 50, "missed": 0},
    },
    "processes": {"web": 120.0, "worker": 90.0, "reaper": 70.0},
    "gateway": {"routes": 500, "through": [0.0003, 0.0004], "direct": [0.0001, 0.0001]},
    "routes": {"routes": 501, "cpu_seconds": [0.006, 0.006]},
    "save points": {
        "save": [0.6, 0.7],
        "pause": [0.2, 0.3],
        "restore": [0.6, 0.7],
        "launch": [0.8, 0.9],
        "cold": [0.7, 0.8],
    },
    "deliveries": {"seconds": [0.08, 0.09, 0.12], "mb": 33.0, "year_seconds": 1.2},
    "dashboards": {
        "count": 1000,
        "polls": [0.01] * 100,
        "launches": [0.05] * 20,
        "missed": 0,
        "web_cpu_share": 0.5,
        "own_cpu_share": 0.3,
    },
}


def sample(**changes: Any) -> results.Results:
    """Return the sample with some figures replaced: `launches__cold__seconds=[…]`."""
    changed = deepcopy(SAMPLE)
    for name, value in changes.items():
        *keys, last = name.split("__")
        inner: Any = changed
        for key in keys:
            inner = inner[int(key) if key.isdigit() and isinstance(inner, list) else key]
        inner[last] = value
    return changed


def met(measured: results.Results) -> dict[str, bool | None]:
    return {target.metric: target.result(measured).met for target in targets.TARGETS}


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
def test_percentiles_are_interpolated_between_the_nearest_values(
    values: list[float], percent: float, expected: float
) -> None:
    assert results.percentile(values, percent) == pytest.approx(expected)


def test_an_empty_series_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="empty"):
        results.percentile([], 50)


def test_good_results_meet_every_target() -> None:
    assert met(SAMPLE) == {target.metric: True for target in targets.TARGETS}


MISSED = {
    "Warm launch, until the response with state `running`": {"warm__idle__seconds": [0.06] * 50},
    "Warm launch while the pool is being refilled": {"warm__refilling__missed": 1},
    "Cold launch ÷ baseline": {"launches__baseline__seconds": [0.7, 0.8]},
    "Compose ÷ cold launch": {"launches__compose__seconds": [4.0, 4.0]},
    "Compose ÷ warm launch": {"warm__idle__seconds": [0.1] * 50},
    "Destroy, until all resources are removed": {"launches__cold__destroy": [0.9, 0.9]},
    "Reset, until it is complete": {"reset__seconds": [0.6, 0.6]},
    "Concurrent sandboxes": {"density__seeded": 99},
    "Memory per sandbox": {"density__available_mb_per_sandbox": {"10": 50.0, "100": 61.0}},
    "Memory of the portal's processes, idle": {"processes": {"web": 351.0}},
    "Sweep over 100 live and 100,000 ended sandboxes": {
        "density__sweeps__1__calls": ["GET /info"] * 2
    },
    "CPU of a sweep over 100 live sandboxes": {"density__sweeps__1__cpu_seconds": [0.2, 0.16]},
    "50 sandboxes due at once, removed by one sweep": {"expiry__seconds": [21.0]},
    "Dashboard with 3 cards, server time": {"pages__queries": {"1": 12, "3": 14}},
    "Card poll without news": {"pages__by_ended_count__3__card poll__client": [0.009, 0.009]},
    "CPU of a dashboard poll without news": {
        "pages__by_ended_count__3__dashboard poll__cpu": [0.0031]
    },
    "CPU and size of an API list, 20 in summary": {
        "pages__by_ended_count__3__API list, 20 in summary__bytes": [10001]
    },
    "CPU of a dashboard with 3 cards": {"pages__by_ended_count__3__dashboard__cpu": [0.016]},
    "CPU of the history": {"pages__by_ended_count__3__history__cpu": [0.021]},
    "1,000 open dashboards with two cards each": {"dashboards__polls": [0.11] * 100},
    "Admin list of 100,000 sandboxes": {
        "pages__by_ended_count__100000__admin list__client": [0.3, 0.3]
    },
    "Save of a billing sandbox": {"save points__save": [0.9, 0.9]},
    "Restoration to a save point": {"save points__restore": [1.3, 1.3]},
    "Launch from a save point ÷ cold launch": {"save points__launch": [1.2, 1.2]},
    "Event of a sandbox, until it arrives at an endpoint": {"deliveries__seconds": [0.3, 0.3]},
    "Memory of a sandbox of billing in use": {"deliveries__mb": 41.0},
    "A year of the test clock, standard seed": {"deliveries__year_seconds": 3.1},
    "Gateway, added to a request": {"gateway__through": [0.002, 0.002]},
    "CPU of the gateway's poll, 500 routes": {"routes__cpu_seconds": [0.03, 0.03]},
}


def test_every_target_has_an_example_of_results_that_miss_it() -> None:
    assert set(MISSED) == {target.metric for target in targets.TARGETS}


@pytest.mark.parametrize("metric", MISSED)
def test_a_missed_target_is_marked_and_names_its_blocker(metric: str) -> None:
    measured = sample(**MISSED[metric])
    assert met(measured)[metric] is False
    [row] = [row for row in report.target_rows(measured) if row[0] == metric]
    assert row[3] == "**fail**"
    assert row[4]


def test_results_with_too_few_repetitions_are_inconclusive() -> None:
    quick = sample(
        warm__idle__seconds=[0.02] * 5,
        density__count=20,
        density__seeded=20,
        density__available_mb_per_sandbox={"20": 33.0},
    )
    quick["density"]["sweeps"][1]["live"] = 20
    inconclusive = {metric for metric, decision in met(quick).items() if decision is None}
    assert inconclusive == {
        "Warm launch, until the response with state `running`",
        "Concurrent sandboxes",
        "Sweep over 100 live and 100,000 ended sandboxes",
        "CPU of a sweep over 100 live sandboxes",
    }


@pytest.mark.parametrize("name", [name for name in SAMPLE if name not in {"quick", "machine"}])
def test_the_page_reports_a_failed_measurement_and_has_the_others(
    name: str, tmp_path: Path
) -> None:
    measured = sample(failed={name: "it broke"})
    del measured[name]
    report.write(measured, tmp_path / "performance.md")
    page = (tmp_path / "performance.md").read_text()
    assert f"The measurement of {name} failed: it broke" in page
    assert page.count("\n| ") > 20


def test_the_page_has_every_target_and_links_only_to_existing_plots(tmp_path: Path) -> None:
    report.write(SAMPLE, tmp_path / "performance.md")
    page = (tmp_path / "performance.md").read_text()
    for target in targets.TARGETS:
        assert f"| {target.metric} | {target.target} |" in page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(pictures) == 5
    for picture in pictures:
        drawn = (tmp_path / picture).read_text()
        assert drawn.startswith("<svg")
        assert "<script" not in drawn
        assert not re.findall(r"(?:href|url\(|src)=?[\"'(]*https?:", drawn)


def test_the_same_results_always_give_the_same_page(tmp_path: Path) -> None:
    written = {}
    for name in ("first", "second"):
        report.write(SAMPLE, tmp_path / name / "performance.md")
        files = sorted((tmp_path / name).rglob("*.*"))
        written[name] = [(file.name, file.read_text()) for file in files]
    assert written["first"] == written["second"]


def test_saved_results_load_unchanged(tmp_path: Path) -> None:
    results.save(SAMPLE, tmp_path / "deep" / "results.json")
    assert results.load(tmp_path / "deep" / "results.json") == json.loads(json.dumps(SAMPLE))


@pytest.mark.engine
def test_a_machine_with_too_little_memory_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "meminfo", lambda _: 1024.0)
    assert machine.shortage(100).endswith("Stop other programs, or use QUICK=1.")
    monkeypatch.setattr(machine, "meminfo", lambda _: 100_000.0)
    monkeypatch.setattr(machine, "DISK_GB", 0)
    assert machine.shortage(100) == ""
