"""`python -m tests.bench [--quick | --render]`: run the benchmarks and write their page."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests.bench import (
    baseline,
    dashboards,
    deliveries,
    density,
    gateway,
    launching,
    machine,
    pages,
    processes,
    report,
    resetting,
    results,
    saving,
)
from tests.bench.compose_stack import compose_stack
from tests.bench.environment import PortalEnvironment, portal_environment

PAGE = machine.ROOT / "docs" / "performance.md"
DEVELOPERS = 10
ALL_PROCESSES = ("web", "worker", "reaper")


@dataclass(frozen=True)
class Sizes:
    """Numbers of repetitions and of objects."""

    warm_launches: int
    pool: int
    rounds: int
    compose_every: int
    """Start the Compose stack in every n-th round only."""
    health_check_starts: int
    batches: dict[int, int]
    """Number of parallel launches by concurrency."""
    resets: int
    requests: int
    gateway_requests: int
    ended: list[int]
    live: int
    few_live: int
    sweeps: int
    due: int
    dashboards: int
    dashboard_rounds: int
    deliveries: int = 50


FULL = Sizes(
    50,
    10,
    20,
    3,
    2,
    {1: 8, 4: 16, 8: 24},
    10,
    100,
    2_000,
    [3, 100_000],
    100,
    10,
    7,
    50,
    1000,
    6,
    50,
)
QUICK = Sizes(3, 3, 4, 2, 0, {1: 2, 4: 4, 8: 8}, 3, 20, 300, [3, 5_000], 15, 5, 2, 50, 50, 2, 10)


class Run:
    """A run of all benchmarks, with its results so far and the measurements that failed."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.quick = sizes, sizes is QUICK
        self.results: results.Results = {"quick": self.quick, "machine": machine.facts()}

    def measure(self, name: str, function: Callable[[], object]) -> None:
        """Store the figures of a measurement. If it fails, the other measurements still run."""
        log(f"Measuring {name}")
        began = time.monotonic()
        try:
            self.results[name] = function()
        except Exception as error:  # noqa: BLE001 - reported at the end and on the page
            self._fail(name, error)
        log(f"  {time.monotonic() - began:.0f} s")

    def measure_on(
        self,
        name: str,
        portal: AbstractContextManager[PortalEnvironment],
        measure: Callable[[PortalEnvironment], None],
    ) -> None:
        """Start a portal, run the measurements on it and stop it."""
        log(f"Starting {name}")
        try:
            with portal as env:
                measure(env)
        except Exception as error:  # noqa: BLE001 - reported at the end and on the page
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        first = str(error).strip().partition("\n")[0]
        self.results.setdefault("failed", {})[name] = f"{type(error).__name__}: {first}"
        print(f"✗ {name}: {error}", file=sys.stderr)

    def all(self) -> results.Results:
        """Run everything, on three portals."""
        pool = str(self.sizes.pool)
        self.measure("gateway", lambda: gateway.latency(self.sizes.gateway_requests))
        without_pool = portal_environment(DEVELOPERS)
        with_pool = portal_environment(DEVELOPERS, ALL_PROCESSES, SANDBOX_POOL_SIZE=pool)
        self.measure_on("a portal without a pool", without_pool, self._cold)
        self.measure_on("a portal with a pool", with_pool, self._warm)
        self.dashboards()
        self.deliveries()
        return self.results

    def routes(self) -> None:
        """Measure the answer to the gateway's poll."""
        self.measure_on("a portal for routes", portal_environment(DEVELOPERS), self._routes)

    def _routes(self, env: PortalEnvironment) -> None:
        self.measure("routes", lambda: gateway.routes_of_a_portal(env))

    def deliveries(self) -> None:
        """Measure the events of a sandbox until they arrive, on a portal without a pool."""
        portal = portal_environment(DEVELOPERS, WEBHOOK_ALLOW_PRIVATE="1")
        self.measure_on("a portal that delivers events", portal, self._deliveries)

    def _deliveries(self, env: PortalEnvironment) -> None:
        times = self.sizes.deliveries
        self.measure("deliveries", lambda: deliveries.deliveries(env, times))

    def dashboards(self) -> None:
        """Measure open dashboards, on a portal without a reaper."""
        pool, most = str(self.sizes.pool), str(3 * self.sizes.dashboards)
        portal = portal_environment(DEVELOPERS, SANDBOX_POOL_SIZE=pool, SANDBOX_MAX_SITE=most)
        self.measure_on("a portal with open dashboards", portal, self._dashboards)

    def _cold(self, env: PortalEnvironment) -> None:
        sizes = self.sizes
        self.measure("launches", lambda: self._launches(env))
        self.measure("rates", lambda: launching.rates(env, sizes.batches))
        self.measure("reset", lambda: resetting.reset(env, sizes.resets))
        self._save_points(env)
        self._pages(env)
        self._routes(env)
        self._density(env)
        self.measure("expiry", lambda: density.expiry(env, sizes.due))

    def save_points(self) -> None:
        """Measure save points, on a portal without a pool."""
        self.measure_on("a portal for saves", portal_environment(DEVELOPERS), self._save_points)

    def _save_points(self, env: PortalEnvironment) -> None:
        self.measure("save points", lambda: saving.save_points(env, self.sizes.resets))

    def density(self) -> None:
        """Measure many sandboxes at once, and sweeps over them."""
        self.measure_on("a portal", portal_environment(DEVELOPERS), self._density)

    def _density(self, env: PortalEnvironment) -> None:
        sizes = self.sizes
        self.measure(
            "density", lambda: density.density(env, sizes.few_live, sizes.live, sizes.sweeps)
        )

    def pages(self) -> None:
        """Measure pages, API and admin, on a portal without a pool."""
        self.measure_on("a portal for pages", portal_environment(DEVELOPERS), self._pages)

    def _pages(self, env: PortalEnvironment) -> None:
        sizes = self.sizes
        self.measure("pages", lambda: pages.pages(env, sizes.ended, sizes.requests))

    def memory(self) -> None:
        """Measure the portal's processes, idle."""
        portal = portal_environment(DEVELOPERS, ALL_PROCESSES)
        self.measure_on("a portal that is idle", portal, self._processes)

    def _processes(self, env: PortalEnvironment) -> None:
        self.measure("processes", lambda: processes.memory_when_idle(env))

    def _launches(self, env: PortalEnvironment) -> results.Results:
        sizes = self.sizes
        with compose_stack(env.engine) as stack:
            methods = {
                "cold": lambda: launching.cold(env),
                "baseline": lambda: baseline.once(env.engine),
                "baseline_full_core": lambda: baseline.once(env.engine, baseline.FULL_CORE),
                "compose": stack.once,
            }
            every = {"compose": sizes.compose_every}
            return launching.interleaved(methods, sizes.rounds, every) | {
                "compose_health_check": stack.with_health_check(sizes.health_check_starts),
                "compose_version": stack.version(),
            }

    def _dashboards(self, env: PortalEnvironment) -> None:
        sizes = self.sizes
        self.measure(
            "dashboards",
            lambda: dashboards.dashboards(
                env, sizes.dashboards, sizes.dashboard_rounds, sizes.warm_launches, sizes.pool
            ),
        )

    def _warm(self, env: PortalEnvironment) -> None:
        pool, launches = self.sizes.pool, self.sizes.warm_launches
        self.measure("warm", lambda: launching.warm(env, pool, launches, launches))
        self._processes(env)


PARTS = {
    "dashboards": Run.dashboards,
    "deliveries": Run.deliveries,
    "density": Run.density,
    "memory": Run.memory,
    "pages": Run.pages,
    "routes": Run.routes,
    "save-points": Run.save_points,
}
"""Measurements that can run on their own."""


def only(part: str, sizes: Sizes) -> int:
    """Run one measurement, and print its targets and its figures."""
    run = Run(sizes)
    with interruptible():
        PARTS[part](run)
    print(*report.only_lines(run.results), sep="\n")
    return 1 if run.results.get("failed") else 0


def log(text: str) -> None:
    print(f"▸ {text}", flush=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Stop the run on Ctrl-C or SIGTERM; further signals don't interrupt the clean-up."""

    def stop(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("✗ Interrupted. Everything that was created has been removed.")


def page_path(quick: bool) -> Path:
    """Return the page to write; a quick run doesn't overwrite the published one."""
    return Path(os.environ.get("BENCH_DIR", "var/bench")) / "performance.md" if quick else PAGE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="few repetitions, in two minutes")
    parser.add_argument(
        "--only",
        choices=list(PARTS),
        help="print the result of this measurement, and write nothing",
    )
    parser.add_argument(
        "--render", action="store_true", help="only write the page again, from stored results"
    )
    options = parser.parse_args()
    page = page_path(options.quick)
    file = page.with_suffix("") / "results.json"
    if options.only:
        return only(options.only, QUICK if options.quick else FULL)
    if not options.render:
        sizes = QUICK if options.quick else FULL
        if shortage := machine.shortage(sizes.live):
            sys.exit(f"✗ {shortage}")
        with interruptible():
            results.save(Run(sizes).all(), file)
    stored = results.load(file)
    report.write(stored, page)
    print(*report.summary_lines(stored), sep="\n")
    log(f"Written to {page}")
    return 1 if stored.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
