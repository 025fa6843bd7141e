"""The sections of the page, each written from its part of the results.

A section raises KeyError if the results lack what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tests.bench.results import Results, Summary, summary

METHODS = """\
- **Warm**: the pool provides a sandbox, and the response already has the state `running`.
- **Cold**: the pool is off. The request has `Prefer: wait=60`, and the response is sent when the
  sandbox runs.
- **Baseline**: one network and two containers with the images and limits of the Compose file,
  created and started in parallel with direct calls of the Docker SDK, until `GET /readyz` succeeds.
  No portal, no database rows, no queue: nothing that starts the two containers can be faster. *Full
  core*: each container starts with a whole CPU core instead of half a core.
- **Compose**: the same stack without a portal, as people run it: Compose starts PostgreSQL, which
  creates its data directory, schema and seed data when the container starts (as the official image
  does, with the same PostgreSQL), and the same API, with the same limits
  ([tests/bench/compose_stack](../tests/bench/compose_stack/compose.yaml)). *Health check*: the API
  starts after the database's health check has passed, as Docker's guide recommends.
"""
UTILIZATION = 0.7
"""Share of a core above which requests wait noticeably for each other."""
DASHBOARD_POLL_SECONDS, WARNINGS_POLL_SECONDS = 10, 20


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table and a blank line after it."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        cells = (cell.replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _series(name: str, seconds: Sequence[float], unit: str = "s") -> list[str]:
    values = summary(seconds)
    return [name, *_figures(values, unit), str(values.n)]


def _figures(values: Summary, unit: str) -> list[str]:
    if unit == "ms":
        return [f"{values.p50 * 1000:.1f}", f"{values.p95 * 1000:.1f}"]
    return [f"{values.p50:.3f}", f"{values.p95:.3f}"]


def _rows(results: Results, *wanted: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield a row for each series that exists. `wanted` has its title, then the keys to it."""
    for title, *keys in wanted:
        series: object = results
        for key in keys:
            series = series.get(key) if isinstance(series, dict) else None
        if isinstance(series, list) and series:
            yield _series(title, series)


def _launching(results: Results) -> Iterator[str]:
    cold = results["launches"]["cold"]
    yield METHODS
    rows = _rows(
        results,
        ("Warm, full pool and idle portal", "warm", "idle", "seconds"),
        ("Warm, while the pool is being refilled", "warm", "refilling", "seconds"),
        ("Cold", "launches", "cold", "seconds"),
        ("Baseline", "launches", "baseline", "seconds"),
        ("Baseline, full core", "launches", "baseline_full_core", "seconds"),
        ("Compose, until the seed data is served", "launches", "compose", "seconds"),
        ("Compose, `up` alone", "launches", "compose", "command"),
        ("Compose, health check", "launches", "compose_health_check"),
    )
    yield from table(["Seconds", "p50", "p95", "n"], rows)
    yield "Time of a cold launch by step:\n"
    steps = [(name[5:], "launches", "cold", name) for name in cold if name.startswith("step ")]
    yield from table(["Seconds", "p50", "p95", "n"], _rows(results, *steps))
    if pool := results.get("warm", {}).get("pool_size"):
        missed = sum(results["warm"][state]["missed"] for state in ("idle", "refilling"))
        yield f"The pool size was {pool}; {missed} launches found the pool empty.\n"
    yield f"Version of Compose: {results['launches']['compose_version']}.\n"


def _concurrency(results: Results) -> Iterator[str]:
    yield (
        "Cold launches by several developers in parallel. Each launches the next sandbox as soon "
        "as the last one runs.\n"
    )
    yield from table(
        ["Developers", "Launches per minute", "p50 (s)", "p95 (s)", "n"],
        (
            [
                str(rate["concurrency"]),
                f"{60 * len(rate['seconds']) / rate['elapsed']:.0f}",
                *_series("", rate["seconds"])[1:],
            ]
            for rate in results["rates"]
        ),
    )


def _destroying_and_resetting(results: Results) -> Iterator[str]:
    rows = _rows(
        results,
        ("Destroy, until all resources are removed", "launches", "cold", "destroy"),
        ("Destroy, baseline", "launches", "baseline", "removal"),
        ("Compose, `down`", "launches", "compose", "down"),
        ("Reset, until it is complete", "reset", "seconds"),
        ("Longest wait of a client during a reset", "reset", "longest_wait"),
        ("Save, until the save point is ready", "save points", "save"),
        ("Pause of the services during a save", "save points", "pause"),
        ("Restoration to a save point", "save points", "restore"),
        ("Launch from a save point", "save points", "launch"),
    )
    yield from table(["Seconds", "p50", "p95", "n"], rows)
    if not (reset := results.get("reset")):
        return
    yield (
        "During each reset, 4 clients with open connections request the plans from the sandbox's "
        f"API, with a pause of 20 ms: {reset['failed_requests']} of {reset['requests']} requests "
        "failed.\n"
    )


def _memory(results: Results) -> Iterator[str]:
    density = results["density"]
    yield (
        f"{density['count']} sandboxes were launched, 8 in parallel, in "
        f"{density['elapsed']:.0f} s; {density['seeded']} served their seed data, each with its "
        "own key.\n"
    )
    available = density["available_mb_per_sandbox"]
    yield from table(
        ["MB per sandbox", "p50", "p95", "n"],
        [
            ["Cgroups, all services", *_mb(density["mb_per_sandbox"])],
            *([f"Cgroup of {name}", *_mb(sizes)] for name, sizes in density["services"].items()),
            *(
                [f"Available memory, {n} live", f"{size:.1f}", "", ""]
                for n, size in available.items()
            ),
        ],
    )
    yield (
        "The figures of cgroups exclude inactive file pages, which the kernel can reclaim at any "
        "time. *Available memory* is the decrease of the machine's `MemAvailable`, which includes "
        "the engine's own processes.\n"
    )
    if "processes" in results:
        sizes = results["processes"]
        yield "The portal's own processes, idle (PSS, which counts shared pages once):\n"
        rows = [[name, f"{size:.0f}"] for name, size in sorted(sizes.items())]
        yield from table(["Process", "MB"], [*rows, ["total", f"{sum(sizes.values()):.0f}"]])


def _mb(sizes: Sequence[float]) -> list[str]:
    values = summary(sizes)
    return [f"{values.p50:.1f}", f"{values.p95:.1f}", str(values.n)]


def _cpu(sweep: Results) -> str:
    """Return the median of the reaper's CPU time; older results don't have it."""
    times = sweep.get("cpu_seconds")
    return f"{summary(times).p50:.3f}" if times else "?"


def _sweeps(results: Results) -> Iterator[str]:
    ended = max(int(count) for count in results["pages"]["by_ended_count"])
    yield f"A sweep of the reaper, with {ended:,} ended sandboxes in the database.\n"
    yield from table(
        ["Live", "p50 (s)", "p95 (s)", "n", "CPU p50 (s)", "Engine calls"],
        (
            [*_series(str(sweep["live"]), sweep["seconds"]), _cpu(sweep), str(len(sweep["calls"]))]
            for sweep in results["density"]["sweeps"]
        ),
    )
    calls = ", ".join(f"`{call}`" for call in results["density"]["sweeps"][-1]["calls"])
    yield f"The engine calls of the last sweep: {calls}.\n"
    if expiry := results.get("expiry"):
        seconds, due, left = expiry["seconds"][0], expiry["due"], expiry["left"]
        yield (
            f"One sweep ended {due} sandboxes that were due at once, and removed them from the "
            f"engine in {seconds:.1f} s; {left} containers were left.\n"
        )


def _mean_cpu(times: Results) -> str:
    """Return milliseconds; older results don't have them."""
    return f"{times['cpu'][0] * 1000:.1f}" if "cpu" in times else "?"


def _kilobytes(times: Results) -> str:
    return f"{times['bytes'][0] / 1000:.1f}" if "bytes" in times else "?"


def _pages(results: Results) -> Iterator[str]:
    yield (
        "A signed-in developer with 3 running sandboxes and an operator, each with one open "
        "connection. *Server* is the time that gunicorn reports for the request, *CPU* the mean "
        "CPU time of a request, user and system, in all processes of `web`.\n"
    )
    yield from table(
        [
            "Page",
            "Ended sandboxes",
            "p50 (ms)",
            "p95 (ms)",
            "Server p95 (ms)",
            "CPU (ms)",
            "kB",
            "n",
        ],
        (
            [
                page,
                f"{int(count):,}",
                *_figures(summary(times["client"]), "ms"),
                _figures(summary(times["server"]), "ms")[1],
                _mean_cpu(times),
                _kilobytes(times),
                str(len(times["client"])),
            ]
            for page in next(iter(results["pages"]["by_ended_count"].values()))
            for count, by_page in results["pages"]["by_ended_count"].items()
            for times in [by_page[page]]
        ),
    )


def _capacity(results: Results) -> Iterator[str]:
    by_count = results["pages"]["by_ended_count"]
    slowest = {
        page: max(times[page]["cpu"][0] for times in by_count.values())
        for page in next(iter(by_count.values()))
    }
    dashboard = (
        slowest["dashboard poll"] / DASHBOARD_POLL_SECONDS
        + slowest["warnings poll"] / WARNINGS_POLL_SECONDS
    )
    loads = {
        "a dashboard is open": dashboard,
        "the same, and a page is loaded each minute": dashboard + slowest["dashboard"] / 60,
        "a program lists 20 sandboxes in summary every 10 s": slowest["API list, 20 in summary"]
        / 10,
    }
    yield (
        f"How many users one core can serve in the processes of `web`, if {UTILIZATION:.0%} of it "
        "may be used. Sandboxes, the engine, the worker and the database need processor time of "
        "their own.\n"
    )
    yield from table(
        ["Each user", "CPU of `web` for each user (ms in a second)", "Users for each core"],
        (
            [load, f"{cpu * 1000:.2f}", f"{int(UTILIZATION / cpu) // 10 * 10:,}"]
            for load, cpu in loads.items()
        ),
    )
    if measured := results.get("dashboards"):
        share = measured["web_cpu_share"]
        yield (
            f"With {measured['count']:,} open dashboards and warm launches beside them, `web` used "
            f"{share:.2f} cores.\n"
        )


def _gateway(results: Results) -> Iterator[str]:
    measured = results["gateway"]
    yield (
        f"Requests on one connection, alternately through [the gateway](gateway.md) with "
        f"{measured['routes']} routes, and to the service behind it, which then does TLS.\n"
    )
    yield from table(
        ["", "p50 (ms)", "p95 (ms)", "n"],
        [
            _finely("through the gateway", measured["through"]),
            _finely("directly, with TLS", measured["direct"]),
        ],
    )


def _events(results: Results) -> Iterator[str]:
    yield (
        "From the response to a change of a sandbox's data to the arrival of its webhook at a "
        "server on the same machine.\n"
    )
    rows = [_series("Event", results["deliveries"]["seconds"])]
    yield from table(["Seconds", "p50", "p95", "n"], rows)


def _finely(name: str, seconds: Sequence[float]) -> list[str]:
    values = summary(seconds)
    return [name, f"{values.p50 * 1000:.2f}", f"{values.p95 * 1000:.2f}", str(values.n)]


SECTIONS = {
    "Launching": _launching,
    "Concurrency": _concurrency,
    "Destroying and resetting": _destroying_and_resetting,
    "Memory": _memory,
    "Sweeps": _sweeps,
    "Pages, API and admin": _pages,
    "Capacity": _capacity,
    "Gateway": _gateway,
    "Events of sandboxes": _events,
}
PLOT_SECTIONS = {
    "launches": "Launching",
    "rounds": "Launching",
    "rates": "Concurrency",
    "memory": "Memory",
    "pages": "Pages, API and admin",
}
"""The section of each plot."""
