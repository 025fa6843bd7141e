"""The targets of the experiments, and whether their results meet them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.tools.reliability_report import Report, Table, TargetResult

Results = dict[str, Any]
STORES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
LIMIT = 3
MAX_REQUEST_SECONDS = 1.0
MAX_DUE_SECONDS = 65
MAX_BOMB_MB = 200


def report(command: str, results: Results) -> Report:
    """Evaluate all targets. A failed experiment meets none of its targets."""
    targets = [evaluated(evaluate, name, target, results) for name, target, evaluate in TARGETS]
    tables = [kills_table(results), recovery_table(results), faults_table(results)]
    tables += failures_table(results)
    return Report(command, targets, tables)


def evaluated(
    evaluate: Callable[[Results], tuple[str, bool]], name: str, target: str, results: Results
) -> TargetResult:
    try:
        measured, met = evaluate(results)
    except (KeyError, ValueError):
        measured, met = "not measured", False
    return TargetResult(name, target, measured, met)


def stuck(results: Results) -> tuple[str, bool]:
    names = ("kills on sqlite", "kills on postgres", "process kills")
    experiments = [results[name] for name in names]
    left = sum((Counter(one["stuck"]) for one in experiments), Counter())
    kills = sum(sum(one["kills"].values()) for one in experiments)
    counts = ", ".join(f"{left[name]} {name}" for name in experiments[0]["stuck"])
    return f"{counts} after {kills} kills", not left.total()


def admitted(results: Results) -> tuple[str, bool]:
    parts, met = [], True
    for store, name in STORES.items():
        rounds = results[f"concurrency on {store}"]["admitted"]
        exact = sum(one.get("201") == one["rows"] == LIMIT for one in rounds)
        met = met and bool(rounds) and exact == len(rounds)
        parts.append(f"{name}: the quota in {exact} of {len(rounds)} rounds")
    return "; ".join(parts), met


def swept(results: Results) -> tuple[str, bool]:
    parts, met = [], True
    for store, name in STORES.items():
        one = results[f"concurrency on {store}"]["sweeps"]
        ended_once = one["ended"] >= one["due"] > 0 and not one["ended_twice"]
        met = met and ended_once and not one["errors"] and not one["left"]
        parts.append(
            f"{name}: {one['sweeps']} sweeps over {one['due']}: {one['ended_twice']} ended twice, "
            f"{one['left']} objects left, {len(one['errors'])} errors"
        )
    return "; ".join(parts), met


def duplicates(results: Results) -> tuple[str, bool]:
    counts = (Counter(results[f"concurrency on {store}"]["duplicates"]) for store in STORES)
    total = sum(counts, Counter()).total()
    return f"{total}", not total


def unrelated(results: Results) -> tuple[str, bool]:
    objects = [results[f"kills on {store}"]["unrelated"] for store in STORES]
    changed = sum(one["changed"] for one in objects)
    return f"{changed} of {sum(one['created'] for one in objects)}", not changed


def requests_during_hang(results: Results) -> tuple[str, bool]:
    one = results["engine hangs"]
    name, seconds, _ = one["slowest"]
    failed = one["failed_requests"]
    measured = f"slowest of {one['requests']}: {name}, {seconds:.2f} s; {len(failed)} failed"
    return measured, seconds < MAX_REQUEST_SECONDS and not failed


def recovery_from_hang(results: Results) -> tuple[str, bool]:
    one = results["engine hangs"]
    reported = one["sweep_during_hang"][0] == 1 and one["sweep_after_hang"][0] == 0
    measured = (
        f"{one['lost']} of {one['launched_during_hang']} launches lost; recovered after "
        f"{one['seconds']:.0f} s and one sweep"
    )
    return measured, reported and not one["lost"]


def due(results: Results) -> tuple[str, bool]:
    one = results["due sandboxes"]
    longest = max(one["seconds"])
    measured = f"{min(one['seconds']):.0f} to {longest:.0f} s, for {one['removed']} sandboxes"
    return measured, longest <= MAX_DUE_SECONDS and one["removed"] == one["due"]


def lost(results: Results) -> tuple[str, bool]:
    total = sum(results[name]["lost"] for name in OUTAGES)
    return f"{total} in {len(OUTAGES)} outages", not total


def noticed(results: Results) -> tuple[str, bool]:
    one = results["sandboxes broken"]
    return f"{one['noticed']} of {one['broken']}", one["noticed"] == one["broken"] > 0


def faults(results: Results) -> tuple[str, bool]:
    left = Counter(dict.fromkeys(FAULT_COUNTS, 0))
    for name in FAULTS:
        left.update({count: results[name][count] for count in FAULT_COUNTS})
    counts = ", ".join(f"{left[count]} {count}" for count in FAULT_COUNTS)
    return f"{counts} in {len(FAULTS)} faults", not any(left.values())


def memory_under_bombs(results: Results) -> tuple[str, bool]:
    one = results["bombs"]
    above = one["above_idle_mb"]
    parts = [f"{name} {size:.0f} MB" for name, size in above.items()]
    measured = f"{', '.join(parts)}, with {one['bombs']} bombs"
    return measured, max(above.values()) <= MAX_BOMB_MB


def requests_during_bombs(results: Results) -> tuple[str, bool]:
    one = results["bombs"]
    path, seconds, _ = one["slowest"]
    failed = one["failed_requests"]
    measured = f"slowest of {one['requests']}: {path}, {seconds:.2f} s; {failed} failed"
    return measured, seconds < MAX_REQUEST_SECONDS and not failed


def requests_during_faults(results: Results) -> tuple[str, bool]:
    failed = sum(results[name].get("failed_requests", 0) for name in FAULTS)
    return f"{failed}", not failed


FAULTS = {
    "sandboxes broken": "Containers paused and disconnected, also in the warm pool",
    "clock set back": "Clock set back by an hour, after workers were killed",
    "disk full": "Disk under VAR_DIR full",
    "files unreadable": "Unreadable files in the queue and among the metrics",
    "redis hangs": "Redis accepts connections and answers nothing",
}
FAULT_COUNTS = ("stuck", "lost", "unreachable")
OUTAGES = {
    "engine restarted": "Engine restarted by its service manager",
    "engine crashed": "Engine and all its containers killed",
    "database restarted": "PostgreSQL stopped immediately",
    "queue emptied": "Embedded queue emptied with requests in it",
    "redis emptied": "Redis killed without persistence",
}
TARGETS = [
    ("Stuck resources after process kills and one sweep", "0", stuck),
    ("Launches admitted of 50 in parallel", "exactly the quota, in every round", admitted),
    ("10 parallel sweeps over 100 due sandboxes", "each ended exactly once, no errors", swept),
    (
        "Duplicate sandboxes, engine objects or events after duplicate messages",
        "0",
        duplicates,
    ),
    ("Unrelated engine objects changed", "0", unrelated),
    ("Web requests while the engine hangs for 60 s", "none over 1 s", requests_during_hang),
    (
        "Launches while the engine hangs",
        "none lost, recovered within one sweep",
        recovery_from_hang,
    ),
    ("Time from due to removed, with a sweep every minute", "at most 65 s", due),
    ("Sandboxes and requests lost in restarts", "0", lost),
    ("Broken sandboxes noticed by one sweep, or when claimed", "all", noticed),
    ("Sandboxes stuck, lost, or handed out unreachable in local faults", "0", faults),
    ("Requests that failed during local faults", "0", requests_during_faults),
    ("Memory above idle under bombs", "at most 200 MB for each process", memory_under_bombs),
    ("Others' requests under bombs", "none over 1 s", requests_during_bombs),
]


def kills_table(results: Results) -> Table:
    """Count kills by the point in the code, and the points before and after engine calls."""
    rows, points, total = [], set[str](), 0
    for store, name in STORES.items():
        one = results.get(f"kills on {store}", {})
        points |= set(one.get("points", ()))
        total = max(total, one.get("total_points", 0))
        for point, count in sorted(one.get("kills", {}).items()):
            rows.append([name, point, str(count)])
        minor = "engine calls delayed, rejected or with a lost response"
        rows.append([name, minor, str(one.get("minor_faults"))])
    for process, count in sorted(results.get("process kills", {}).get("kills", {}).items()):
        rows.append(["PostgreSQL", f"complete portal in use: {process}", str(count)])
    covered = f"{len(points)} of {total}"
    rows.append(["", "distinct points before and after engine calls", covered])
    return Table("Processes killed with SIGKILL", ["Database", "Point", "Kills"], rows)


def recovery_table(results: Results) -> Table:
    """List the times from the end of each outage until everything ran again."""
    rows = [
        [title, f"{results.get(name, {}).get('seconds', '?')} s"] for name, title in OUTAGES.items()
    ]
    return Table("Recovery times, with a sweep every 5 s", ["Outage", "Time"], rows)


def faults_table(results: Results) -> Table:
    """List what each local fault left behind."""
    rows = [
        [title, *(str(results.get(name, {}).get(count, "?")) for count in FAULT_COUNTS)]
        for name, title in FAULTS.items()
    ]
    return Table("Local faults", ["Fault", *(name.capitalize() for name in FAULT_COUNTS)], rows)


def failures_table(results: Results) -> list[Table]:
    """List failed experiments and the errors of sweeps; return no table if there are none."""
    rows = [[name, one["failed"]] for name, one in results.items() if "failed" in one]
    rows += [[name, line] for name, one in results.items() for line in one.get("errors", [])]
    return [Table("Errors", ["Experiment", "Message"], rows)] if rows else []
