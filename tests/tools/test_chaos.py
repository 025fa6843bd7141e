"""A look at what `make chaos` does at length: kills, a crowd and an engine that hangs."""

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
from tests.chaos.fault_schedule import DEALT_AT_MOST, Schedule, deck

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[2]
SEED = "7"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the short run found; its schedule is the same each time."""
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
def test_processes_that_are_killed_leave_nothing_that_one_sweep_does_not_settle(found):
    kills = found["kills on sqlite"]
    assert sum(kills["kills"].values()) == 6
    assert set(kills["stuck"].values()) == {0}, kills["complaints"]


@pytest.mark.engine
def test_what_is_not_the_portals_own_on_the_engine_is_left_alone(found):
    assert found["kills on sqlite"]["foreign"] == {"planted": 9, "touched": False}


@pytest.mark.engine
def test_sweeps_at_once_end_each_sandbox_once(found):
    sweeps = found["crowds on sqlite"]["sweeps"]
    assert sweeps["due"] == 6
    assert (sweeps["ended_twice"], sweeps["errors"], sweeps["left"]) == (0, [], 0)


@pytest.mark.engine
def test_messages_that_come_twice_make_nothing_twice(found):
    assert set(found["crowds on sqlite"]["twice"].values()) == {0}


@pytest.mark.engine
def test_while_the_engine_hangs_people_are_served_and_nothing_is_lost(found):
    hung = found["hung"]
    assert hung["spoilt"] == []
    assert hung["launched_meanwhile"] == 2
    assert hung["lost"] == 0
    assert hung["sweep_meanwhile"][0] == 1
    assert "can't be reached" in hung["sweep_meanwhile"][1]
    assert hung["sweep_after"] == [0, ""]


FOUND: dict[str, Any] = {
    "kills on sqlite": {
        "kills": {"sweep: call": 5},
        "points": ["sweep: before call 1", "sweep: after call 2"],
        "points_in_all": 134,
        "lesser": 1,
        "stuck": {"containers": 0, "networks": 0, "volumes": 0, "ports": 0, "rows": 0},
        "complaints": [],
        "foreign": {"planted": 9, "touched": False},
    },
    "crowds on sqlite": {
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
        "twice": {"containers": 0, "networks": 0, "lines": 0, "left": 0},
    },
    "crew": {
        "kills": {"worker": 3},
        "stuck": {"containers": 0, "networks": 0, "volumes": 0, "ports": 0, "rows": 0},
        "complaints": [],
    },
    "hung": {
        "requests": 200,
        "slowest": ["GET /api/v1/sandboxes", 0.2, 200],
        "spoilt": [],
        "sweep_meanwhile": [1, "The engine can't be reached"],
        "sweep_after": [0, ""],
        "launched_meanwhile": 2,
        "lost": 0,
        "seconds": 8.0,
    },
    "due": {"due": 12, "gone": 12, "seconds": [1.0, 61.0]},
} | {name: {"seconds": 12.0, "lost": 0} for name in acceptance.OUTAGES}
FOUND |= {f"{what} on postgres": FOUND[f"{what} on sqlite"] for what in ("kills", "crowds")}


def verdicts(**changes: Any) -> dict[str, bool]:
    """The bars by what they ask, when this is found instead."""
    report = acceptance.report("make chaos", FOUND | changes)
    return {result.name: result.met for result in report.targets}


def test_a_run_in_which_all_went_well_meets_every_bar():
    assert set(verdicts().values()) == {True}


@pytest.mark.parametrize(
    ("name", "change", "bar"),
    [
        ("crew", {"stuck": {"rows": 1}}, "left stuck"),
        ("crowds on postgres", {"admitted": [{"201": 4, "rows": 4}]}, "admitted"),
        ("crowds on sqlite", {"admitted": [{"201": 2, "rows": 2}]}, "admitted"),
        ("crowds on sqlite", {"twice": {"containers": 1}}, "twice"),
        ("kills on postgres", {"foreign": {"planted": 9, "touched": True}}, "foreign"),
        ("hung", {"slowest": ["GET /", 1.2, 200]}, "web requests"),
        ("hung", {"spoilt": ["POST /api/v1/sandboxes"]}, "web requests"),
        ("hung", {"lost": 1}, "asked for meanwhile"),
        ("hung", {"sweep_meanwhile": [0, ""]}, "asked for meanwhile"),
        ("due", {"seconds": [66.0]}, "from due to gone"),
        ("queue emptied", {"lost": 1}, "lost in restarts"),
        ("engine crashed", None, "lost in restarts"),
    ],
)
def test_whatever_went_wrong_misses_a_bar(name, change, bar):
    changed = {"failed": "it broke"} if change is None else FOUND[name] | change
    missed = [what for what, met in verdicts(**{name: changed}).items() if not met]
    assert len(missed) == 1
    assert bar in missed[0]


def test_the_page_says_how_many_points_both_databases_covered_together():
    more = FOUND["kills on postgres"] | {"points": ["sweep: after call 2", "reset: before call 1"]}
    kills = acceptance.kills_table(FOUND | {"kills on postgres": more})

    assert kills.rows[-1] == ["", "different points before and after engine calls", "3 of 134"]


def test_a_seed_is_one_schedule_and_another_seed_another():
    passed = {"tear down": {"call": 11, "statement": 6}, "reset": {"call": 5, "statement": 4}}

    def first(seed: str) -> list[str]:
        kills = Schedule(random.Random(seed), deck(seed, passed), passed)
        return [str(kill) for kill in islice(kills, 20)]

    assert first("7") == first("7") != first("8")


def test_a_point_that_nobody_came_to_is_tried_again_after_the_others_and_not_for_ever():
    passed = {"reset": {"call": 2, "statement": 4}}
    schedule = Schedule(random.Random(SEED), deck(SEED, passed), passed)

    dealt = []
    for kill in islice((kill for kill in schedule if kill.at.kind == "call"), 4 * DEALT_AT_MOST):
        dealt.append(str(kill.at))
        schedule.put_back(kill)

    assert len(set(dealt[:4])) == 4
    assert dealt == dealt[:4] * DEALT_AT_MOST


def test_shares_of_a_deck_are_the_whole_deck():
    passed = {"tear down": {"call": 11}, "reset": {"call": 5}}
    whole = deck("7", passed)
    shares = [deck("7", passed, (number, 2)) for number in (0, 1)]

    assert len(whole) == 32
    assert sorted(map(str, whole)) == sorted(str(card) for share in shares for card in share)
