"""What was asked of the portal, and whether what the ordeals found meets it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.tools.reliability_report import Report, Table, TargetResult

Found = dict[str, Any]
STORES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
LIMIT = 3
LONGEST_REQUEST_SECONDS = 1.0
LONGEST_DUE_SECONDS = 65


def report(command: str, found: Found) -> Report:
    """Bars for all of it. An ordeal that failed meets none."""
    bars = [judged(judge, what, asked, found) for what, asked, judge in BARS]
    return Report(command, bars, [kills_table(found), recovery_table(found), *failures(found)])


def judged(
    judge: Callable[[Found], tuple[str, bool]], what: str, asked: str, found: Found
) -> TargetResult:
    try:
        measured, met = judge(found)
    except (KeyError, ValueError):
        measured, met = "not measured", False
    return TargetResult(what, asked, measured, met)


def worlds_with_kills(found: Found) -> dict[str, Found]:
    names = ("kills on sqlite", "kills on postgres", "crew")
    return {name: found[name] for name in names}


def stuck(found: Found) -> tuple[str, bool]:
    worlds = worlds_with_kills(found)
    left = sum((Counter(world["stuck"]) for world in worlds.values()), Counter())
    kills = sum(sum(world["kills"].values()) for world in worlds.values())
    words = ", ".join(f"{left[name]} {name}" for name in next(iter(worlds.values()))["stuck"])
    return f"{words} after {kills} kills", not left.total()


def admitted(found: Found) -> tuple[str, bool]:
    words, met = [], True
    for store, name in STORES.items():
        rounds = found[f"crowds on {store}"]["admitted"]
        exact = sum(one.get("201") == one["rows"] == LIMIT for one in rounds)
        met = met and bool(rounds) and exact == len(rounds)
        words.append(f"{name}: the limit in {exact} of {len(rounds)} rounds")
    return "; ".join(words), met


def swept(found: Found) -> tuple[str, bool]:
    words, met = [], True
    for store, name in STORES.items():
        one = found[f"crowds on {store}"]["sweeps"]
        fine = one["ended"] >= one["due"] > 0 and not one["ended_twice"]
        met = met and fine and not one["errors"] and not one["left"]
        words.append(
            f"{name}: {one['sweeps']} sweeps over {one['due']}: {one['ended_twice']} ended twice, "
            f"{one['left']} objects left, {len(one['errors'])} errors"
        )
    return "; ".join(words), met


def duplicates(found: Found) -> tuple[str, bool]:
    more = sum((Counter(found[f"crowds on {s}"]["twice"]) for s in STORES), Counter())
    return f"{more.total()}", not more.total()


def foreign(found: Found) -> tuple[str, bool]:
    worlds = [found[f"kills on {store}"]["foreign"] for store in STORES]
    touched = sum(world["touched"] for world in worlds)
    return f"{touched} of {sum(world['planted'] for world in worlds)}", not touched


def hung_requests(found: Found) -> tuple[str, bool]:
    one = found["hung"]
    what, seconds, _ = one["slowest"]
    words = f"slowest of {one['requests']}: {what}, {seconds:.2f} s; {len(one['spoilt'])} failed"
    return words, seconds < LONGEST_REQUEST_SECONDS and not one["spoilt"]


def hung_recovery(found: Found) -> tuple[str, bool]:
    one = found["hung"]
    told = one["sweep_meanwhile"][0] == 1 and one["sweep_after"][0] == 0
    words = f"{one['lost']} lost of {one['launched_meanwhile']} launched meanwhile; all well after "
    return f"{words}{one['seconds']:.0f} s and one sweep", told and not one["lost"]


def due(found: Found) -> tuple[str, bool]:
    one = found["due"]
    longest = max(one["seconds"])
    words = f"{min(one['seconds']):.0f} to {longest:.0f} s, of {one['gone']}"
    return words, longest <= LONGEST_DUE_SECONDS and one["gone"] == one["due"]


def lost(found: Found) -> tuple[str, bool]:
    total = sum(found[name]["lost"] for name in OUTAGES)
    return f"{total} in {len(OUTAGES)} outages", not total


OUTAGES = {
    "engine restarted": "the engine, by its service",
    "engine crashed": "the engine and all it ran, killed",
    "database restarted": "PostgreSQL, stopped at once",
    "queue emptied": "the embedded queue, emptied with requests in it",
    "redis emptied": "Redis, killed with nothing kept",
}
BARS = [
    ("left stuck by processes that were killed, one sweep later", "0", stuck),
    ("admitted of 50 parallel launches", "exactly the limit, every round", admitted),
    ("10 sweeps at once over 100 that are due", "each ended once, no error", swept),
    ("sandboxes, objects or journal lines too many when messages come twice", "0", duplicates),
    ("foreign or unlabelled engine objects touched", "0", foreign),
    ("web requests while the engine hangs for 60 s", "none over 1 s", hung_requests),
    ("what was asked for meanwhile", "nothing lost, recovered within one sweep", hung_recovery),
    ("from due to gone, with a sweep each minute", "65 s at most", due),
    ("sandboxes and requests lost in restarts", "0", lost),
]


def kills_table(found: Found) -> Table:
    """Who was killed where, and how much of the engine's part was covered."""
    rows, points, in_all = [], set[str](), 0
    for store, name in STORES.items():
        one = found.get(f"kills on {store}", {})
        points |= set(one.get("points", ()))
        in_all = max(in_all, one.get("points_in_all", 0))
        for where, count in sorted(one.get("kills", {}).items()):
            rows.append([name, where, str(count)])
        rows.append([name, "calls that were slow, refused or not answered", str(one.get("lesser"))])
    for who, count in sorted(found.get("crew", {}).get("kills", {}).items()):
        rows.append(["PostgreSQL", f"a whole portal in use: {who}", str(count)])
    covered = f"{len(points)} of {in_all}"
    rows.append(["", "different points before and after engine calls", covered])
    return Table("Where processes were killed, with SIGKILL", ["database", "where", "times"], rows)


def recovery_table(found: Found) -> Table:
    """From when it was back until everything ran again, with a sweep every 5 s."""
    rows = [
        [what, f"{found.get(name, {}).get('seconds', '?')} s"] for name, what in OUTAGES.items()
    ]
    return Table("Back until all was well, with a sweep every 5 s", ["what was away", "time"], rows)


def failures(found: Found) -> list[Table]:
    """What could not be measured, and what sweeps complained of."""
    rows = [[name, one["failed"]] for name, one in found.items() if "failed" in one]
    rows += [[name, line] for name, one in found.items() for line in one.get("complaints", [])]
    return [Table("What went wrong", ["in", "what"], rows)] if rows else []
