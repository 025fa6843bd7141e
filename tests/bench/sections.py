"""The page's sections, each written from the results that it is about.

Each raises KeyError for results that lack what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tests.bench.results import Results, Summary, summary

WAYS = """\
- **Warm**: the request is answered with a sandbox that waited in the pool, already `running`.
- **Cold**: the pool is off, and the request (`Prefer: wait=60`) is answered once the sandbox runs.
- **Floor**: one network and two containers with the Compose file's images and limits, made and
  started side by side by bare calls of the engine's SDK, until `GET /readyz` answers 200. No
  portal, no rows, no queue: nothing that starts the two containers can be faster. *With CPU lent*,
  each has a whole core from its start on instead of half of one.
- **Peer**: the same stack with no portal, as people run it: Compose brings up PostgreSQL, which
  makes its data directory, its schema and the seed when the container starts (the official image's
  way, from the same PostgreSQL), and the same API, with the same limits
  ([tests/bench/compose_stack](../tests/bench/compose_stack/compose.yaml)). *Waiting for health*:
  its API is started when the database's health check passes, written as Docker's guide has it.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown, with a blank line after it."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _series(name: str, seconds: Sequence[float], unit: str = "s") -> list[str]:
    found = summary(seconds)
    return [name, *_figures(found, unit), str(found.n)]


def _figures(found: Summary, unit: str) -> list[str]:
    if unit == "ms":
        return [f"{found.p50 * 1000:.1f}", f"{found.p95 * 1000:.1f}"]
    return [f"{found.p50:.3f}", f"{found.p95:.3f}"]


def _rows(results: Results, *wanted: tuple[str, ...]) -> Iterator[list[str]]:
    """A line for each series that there is; its title comes first, then the way to it."""
    for title, *way in wanted:
        series: object = results
        for name in way:
            series = series.get(name) if isinstance(series, dict) else None
        if isinstance(series, list) and series:
            yield _series(title, series)


def _launching(results: Results) -> Iterator[str]:
    cold = results["launches"]["cold"]
    yield WAYS
    rows = _rows(
        results,
        ("warm, pool full and quiet", "warm", "quiet", "seconds"),
        ("warm, while the pool is filled", "warm", "busy", "seconds"),
        ("cold", "launches", "cold", "seconds"),
        ("floor", "launches", "floor", "seconds"),
        ("floor, with CPU lent", "launches", "floor_lent", "seconds"),
        ("peer, until it answers with its seed", "launches", "peer", "seconds"),
        ("peer, the command alone", "launches", "peer", "command"),
        ("peer, waiting for health", "launches", "peer_waiting"),
    )
    yield from table(["seconds", "p50", "p95", "n"], rows)
    yield "Where a cold launch spends its time, by its own steps:\n"
    steps = [(name[5:], "launches", "cold", name) for name in cold if name.startswith("step ")]
    yield from table(["seconds", "p50", "p95", "n"], _rows(results, *steps))
    if pool := results.get("warm", {}).get("pool"):
        missed = sum(results["warm"][way]["missed"] for way in ("quiet", "busy"))
        yield f"The pool held {pool} sandboxes when full; {missed} launches found it empty.\n"
    yield f"The peer was run by Compose {results['launches']['compose']}.\n"


def _several(results: Results) -> Iterator[str]:
    yield "Cold launches by so many developers at once, each asking again when answered.\n"
    yield from table(
        ["at once", "a minute", "p50 (s)", "p95 (s)", "n"],
        (
            [
                str(rate["at_once"]),
                f"{60 * len(rate['seconds']) / rate['elapsed']:.0f}",
                *_series("", rate["seconds"])[1:],
            ]
            for rate in results["rates"]
        ),
    )


def _ending(results: Results) -> Iterator[str]:
    rows = _rows(
        results,
        ("destroy, until nothing with its label is left", "launches", "cold", "destroy"),
        ("the same by bare engine calls", "launches", "floor", "removal"),
        ("peer, `down`", "launches", "peer", "down"),
        ("reset, until it is done", "reset", "seconds"),
        ("longest wait of a client meanwhile", "reset", "longest"),
    )
    yield from table(["seconds", "p50", "p95", "n"], rows)
    reset = results["reset"]
    yield (
        "During each reset, 4 clients with open connections ask the sandbox's API for its plans, "
        f"with 20 ms of rest: of {reset['asked']} requests {reset['refused']} were refused.\n"
    )


def _crowding(results: Results) -> Iterator[str]:
    crowd = results["crowd"]
    yield (
        f"{crowd['count']} sandboxes were launched, 8 at once, in {crowd['elapsed']:.0f} s; "
        f"{crowd['answered']} answered with their seed, each by its own key.\n"
    )
    lost = crowd["available_mb_each"]
    yield from table(
        ["MB for each", "p50", "p95", "n"],
        [
            ["control groups, all services", *_mb(crowd["mb_each"])],
            *([name, *_mb(sizes)] for name, sizes in crowd["services"].items()),
            *([f"less available, {n} live", f"{size:.1f}", "", ""] for n, size in lost.items()),
        ],
    )
    yield (
        "A control group's figure is its usage without the file pages that the kernel can drop at "
        "once. What the machine has less available (`MemAvailable`) also has the engine's own "
        "processes in it.\n"
    )
    if "processes" in results:
        sizes = results["processes"]
        yield "The portal's own processes, idle (PSS: what several share is counted once):\n"
        rows = [[name, f"{size:.0f}"] for name, size in sorted(sizes.items())]
        yield from table(["process", "MB"], [*rows, ["together", f"{sum(sizes.values()):.0f}"]])


def _mb(sizes: Sequence[float]) -> list[str]:
    found = summary(sizes)
    return [f"{found.p50:.1f}", f"{found.p95:.1f}", str(found.n)]


def _sweeping(results: Results) -> Iterator[str]:
    past = max(int(count) for count in results["pages"]["past"])
    yield f"One pass of the reaper with {past:,} past sandboxes in the database.\n"
    yield from table(
        ["live", "p50 (s)", "p95 (s)", "n", "engine calls"],
        (
            [*_series(str(sweep["live"]), sweep["seconds"]), str(len(sweep["calls"]))]
            for sweep in results["crowd"]["sweep"]
        ),
    )
    calls = ", ".join(f"`{call}`" for call in results["crowd"]["sweep"][-1]["calls"])
    yield f"The calls of the last one: {calls}.\n"


def _paging(results: Results) -> Iterator[str]:
    yield (
        "A signed-in developer with 3 running sandboxes and an operator, each with one connection; "
        "“in the server” is gunicorn's own time for the request.\n"
    )
    yield from table(
        ["page", "past", "p50 (ms)", "p95 (ms)", "p95 in the server", "n"],
        (
            [
                page,
                f"{int(count):,}",
                *_figures(summary(times["client"]), "ms"),
                _figures(summary(times["server"]), "ms")[1],
                str(len(times["client"])),
            ]
            for page in next(iter(results["pages"]["past"].values()))
            for count, found in results["pages"]["past"].items()
            for times in [found[page]]
        ),
    )


SECTIONS = {
    "Launching": _launching,
    "Several at once": _several,
    "Destroying and resetting": _ending,
    "Memory": _crowding,
    "Sweeping": _sweeping,
    "Pages, API and admin": _paging,
}
PLACES = {
    "launches": "Launching",
    "turns": "Launching",
    "rates": "Several at once",
    "memory": "Memory",
    "pages": "Pages, API and admin",
}
"""Under which title each plot stands."""
