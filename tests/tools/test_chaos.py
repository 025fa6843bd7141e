"""A short run of `make chaos`, and how it schedules faults and evaluates results."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import acceptance
from tests.chaos.fault_schedule import CALL, MAX_ATTEMPTS, STATEMENT, FaultSchedule, shuffled_points

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[2]
SEED = "7"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """Return the results of a short run, which has the same schedule each time."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--short", "--seed", SEED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert [name for name, one in result.items() if "failed" in one] == [], done.stderr
    return result


@pytest.mark.engine
def test_killed_processes_leave_nothing_stuck_after_one_sweep(results):
    kills = results["kills on sqlite"]
    assert sum(kills["kills"].values()) == 6
    assert set(kills["stuck"].values()) == {0}, kills["errors"]


@pytest.mark.engine
def test_unrelated_engine_objects_are_not_changed(results):
    assert results["kills on sqlite"]["unrelated"] == {"created": 9, "changed": False}


@pytest.mark.engine
def test_parallel_sweeps_end_each_sandbox_once(results):
    sweeps = results["concurrency on sqlite"]["sweeps"]
    assert sweeps["due"] == 6
    assert (sweeps["ended_twice"], sweeps["errors"], sweeps["left"]) == (0, [], 0)


@pytest.mark.engine
def test_duplicate_messages_create_no_duplicates(results):
    assert set(results["concurrency on sqlite"]["duplicates"].values()) == {0}


@pytest.mark.engine
def test_while_the_engine_hangs_requests_are_served_and_nothing_is_lost(results):
    hang = results["engine hangs"]
    assert hang["failed_requests"] == []
    assert hang["launched_during_hang"] == 2
    assert hang["lost"] == 0
    assert hang["sweep_during_hang"][0] == 1
    assert "can't be reached" in hang["sweep_during_hang"][1]
    assert hang["sweep_after_hang"] == [0, ""]


RESULTS: dict[str, Any] = {
    "kills on sqlite": {
        "kills": {"sweep: engine call": 5},
        "points": ["sweep: before engine call 1", "sweep: after engine call 2"],
        "total_points": 134,
        "minor_faults": 1,
        "stuck": {"containers": 0, "networks": 0, "volumes": 0, "ports": 0, "rows": 0},
        "errors": [],
        "unrelated": {"created": 9, "changed": False},
    },
    "concurrency on sqlite": {
        "admitted": [{"201": 3, "429": 47, "rows": 3}],
        "sweeps": {
            "due": 100,
            "sweeps": 10,
            "ended": 110,
            "ended_twice": 0,
            "errors": [],
            "left": 0,
            "seconds": 9.0,
        },
        "duplicates": {"containers": 0, "networks": 0, "events": 0, "left": 0},
    },
    "process kills": {
        "kills": {"worker": 3},
        "stuck": {"containers": 0, "networks": 0, "volumes": 0, "ports": 0, "rows": 0},
        "errors": [],
    },
    "engine hangs": {
        "requests": 200,
        "slowest": ["GET /api/v1/sandboxes", 0.2, 200],
        "failed_requests": [],
        "sweep_during_hang": [1, "The engine can't be reached"],
        "sweep_after_hang": [0, ""],
        "launched_during_hang": 2,
        "lost": 0,
        "seconds": 8.0,
    },
    "due sandboxes": {"due": 12, "removed": 12, "seconds": [1.0, 61.0]},
} | {name: {"seconds": 12.0, "lost": 0} for name in acceptance.OUTAGES}
RESULTS |= {name: {"stuck": 0, "lost": 0, "unreachable": 0} for name in acceptance.FAULTS}
RESULTS["sandboxes broken"] |= {"broken": 4, "noticed": 4}
RESULTS["bombs"] = {
    "bombs": 100,
    "above_idle_mb": {"web": 90.0, "worker": 10.0},
    "requests": 500,
    "slowest": ["/", 0.4, 200],
    "failed_requests": 0,
}
RESULTS["disk full"] |= {"failed_requests": 0}
RESULTS |= {
    f"{name} on postgres": RESULTS[f"{name} on sqlite"] for name in ("kills", "concurrency")
}


def targets_met(**changes: Any) -> dict[str, bool]:
    """Return which targets are met, by name, if these results replace the good ones."""
    report = acceptance.report("make chaos", RESULTS | changes)
    return {result.name: result.met for result in report.targets}


def test_good_results_meet_every_target():
    assert set(targets_met().values()) == {True}


@pytest.mark.parametrize(
    ("name", "change", "target"),
    [
        ("process kills", {"stuck": {"rows": 1}}, "Stuck resources"),
        ("concurrency on postgres", {"admitted": [{"201": 4, "rows": 4}]}, "admitted"),
        ("concurrency on sqlite", {"admitted": [{"201": 2, "rows": 2}]}, "admitted"),
        ("concurrency on sqlite", {"duplicates": {"containers": 1}}, "Duplicate"),
        ("kills on postgres", {"unrelated": {"created": 9, "changed": True}}, "Unrelated"),
        ("engine hangs", {"slowest": ["GET /", 1.2, 200]}, "Web requests"),
        ("engine hangs", {"failed_requests": ["POST /api/v1/sandboxes"]}, "Web requests"),
        ("engine hangs", {"lost": 1}, "Launches while the engine hangs"),
        ("engine hangs", {"sweep_during_hang": [0, ""]}, "Launches while the engine hangs"),
        ("due sandboxes", {"seconds": [66.0]}, "from due to removed"),
        ("queue emptied", {"lost": 1}, "lost in restarts"),
        ("engine crashed", None, "lost in restarts"),
        ("sandboxes broken", {"noticed": 3}, "noticed by one sweep"),
        ("sandboxes broken", {"unreachable": 1}, "handed out unreachable"),
        ("clock set back", {"stuck": 1}, "stuck, lost"),
        ("disk full", {"failed_requests": 1}, "during local faults"),
        ("bombs", {"above_idle_mb": {"web": 201.0, "worker": 1.0}}, "Memory above idle"),
        ("bombs", {"slowest": ["/", 1.1, 200]}, "requests under bombs"),
    ],
)
def test_each_bad_result_misses_exactly_one_target(name, change, target):
    changed = {"failed": "it broke"} if change is None else RESULTS[name] | change
    missed = [other for other, met in targets_met(**{name: changed}).items() if not met]
    assert len(missed) == 1
    assert target in missed[0]


def test_the_page_counts_the_points_that_both_databases_covered_together():
    points = ["sweep: after engine call 2", "reset: before engine call 1"]
    more = RESULTS["kills on postgres"] | {"points": points}
    kills = acceptance.kills_table(RESULTS | {"kills on postgres": more})

    assert kills.rows[-1] == ["", "distinct points before and after engine calls", "3 of 134"]


def test_the_schedule_follows_from_the_seed():
    counts = {"destroy": {CALL: 11, STATEMENT: 6}, "reset": {CALL: 5, STATEMENT: 4}}

    def first(seed: str) -> list[str]:
        kills = FaultSchedule(random.Random(seed), shuffled_points(seed, counts), counts)
        return [str(kill) for kill in islice(kills, 20)]

    assert first("7") == first("7") != first("8")


def test_a_point_that_was_not_reached_is_retried_after_the_others_a_few_times():
    counts = {"reset": {CALL: 2, STATEMENT: 4}}
    schedule = FaultSchedule(random.Random(SEED), shuffled_points(SEED, counts), counts)

    attempts = []
    for kill in islice((kill for kill in schedule if kill.at.kind == CALL), 4 * MAX_ATTEMPTS):
        attempts.append(str(kill.at))
        schedule.requeue(kill)

    assert len(set(attempts[:4])) == 4
    assert attempts == attempts[:4] * MAX_ATTEMPTS


def test_the_shares_of_two_runs_cover_all_points():
    counts = {"destroy": {CALL: 11}, "reset": {CALL: 5}}
    points = shuffled_points("7", counts)
    shares = [shuffled_points("7", counts, (number, 2)) for number in (0, 1)]

    assert len(points) == 32
    assert sorted(map(str, points)) == sorted(str(point) for share in shares for point in share)
