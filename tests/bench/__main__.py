"""`python -m tests.bench [--quick | --render]`: measure, and write the page."""

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

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from tests.bench import (
    baseline,
    density,
    launching,
    machine,
    memory,
    pages,
    report,
    resetting,
    results,
)
from tests.bench.compose_stack import peer
from tests.bench.environment import Stage, stage

PAGE = machine.ROOT / "docs" / "performance.md"
DEVELOPERS = 10
EVERYTHING = ("web", "worker", "reaper")


@dataclass(frozen=True)
class Sizes:
    """How often, and of how many."""

    claims: int
    pool: int
    turns: int
    peer_every: int
    waiting: int
    batches: dict[int, int]
    resets: int
    requests: int
    past: list[int]
    crowd: int
    few: int
    sweeps: int


FULL = Sizes(50, 10, 20, 3, 2, {1: 8, 4: 16, 8: 24}, 10, 100, [3, 100_000], 100, 10, 7)
QUICK = Sizes(3, 3, 4, 2, 0, {1: 2, 4: 4, 8: 8}, 3, 20, [3, 5_000], 15, 5, 2)


class Run:
    """One run: what it found so far, and what failed."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.quick = sizes, sizes is QUICK
        self.found: results.Results = {"quick": self.quick, "machine": machine.facts()}

    def measure(self, name: str, act: Callable[[], object]) -> None:
        """Keep what it gives; one that fails leaves the others their turn."""
        say(f"Measuring {name}")
        began = time.monotonic()
        try:
            self.found[name] = act()
        except Exception as error:  # noqa: BLE001 - told at the end and on the page
            self._fail(name, error)
        say(f"  {time.monotonic() - began:.0f} s")

    def on(
        self, name: str, portal: AbstractContextManager[Stage], act: Callable[[Stage], None]
    ) -> None:
        """Start a portal, measure on it, and end it."""
        say(f"Starting {name}")
        try:
            with portal as stage:
                act(stage)
        except Exception as error:  # noqa: BLE001 - likewise
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        first = str(error).strip().partition("\n")[0]
        self.found.setdefault("failed", {})[name] = f"{type(error).__name__}: {first}"
        print(f"✗ {name}: {error}", file=sys.stderr)

    def all(self) -> results.Results:
        """Everything, on two portals."""
        self.on("a portal without a pool", stage(DEVELOPERS), self._cold)
        with_pool = stage(DEVELOPERS, EVERYTHING, SANDBOX_POOL_SIZE=str(self.sizes.pool))
        self.on("a portal with a pool", with_pool, self._warm)
        return self.found

    def _cold(self, portal: Stage) -> None:
        sizes = self.sizes
        self.measure("launches", lambda: self._launches(portal))
        self.measure("rates", lambda: launching.rates(portal, sizes.batches))
        self.measure("reset", lambda: resetting.reset(portal, sizes.resets))
        self.measure("pages", lambda: pages.pages(portal, sizes.past, sizes.requests))
        self.measure("crowd", lambda: density.crowd(portal, sizes.few, sizes.crowd, sizes.sweeps))

    def _launches(self, portal: Stage) -> results.Results:
        sizes = self.sizes
        with peer(portal.engine) as stack:
            ways = {
                "cold": lambda: launching.cold(portal),
                "floor": lambda: baseline.once(portal.engine),
                "floor_lent": lambda: baseline.once(portal.engine, baseline.ONE_CORE),
                "peer": stack.once,
            }
            found = launching.by_turns(ways, sizes.turns, {"peer": sizes.peer_every})
            waiting = stack.waiting(sizes.waiting)
            return found | {"peer_waiting": waiting, "compose": stack.version()}

    def _warm(self, portal: Stage) -> None:
        pool, claims = self.sizes.pool, self.sizes.claims
        self.measure("warm", lambda: launching.warm(portal, pool, claims, claims))
        self.measure("processes", lambda: memory.of_processes(portal.portal))


def say(text: str) -> None:
    print(f"▸ {text}", flush=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run once; what is then being removed is not interrupted again."""

    def end(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("✗ Interrupted; what was made is removed.")


def page_of(quick: bool) -> Path:
    """A quick look does not overwrite what was measured."""
    return Path(os.environ.get("BENCH_DIR", "var/bench")) / "performance.md" if quick else PAGE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="few repetitions: two minutes")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    chosen = parser.parse_args()
    page = page_of(chosen.quick)
    file = page.with_suffix("") / "results.json"
    if not chosen.render:
        sizes = QUICK if chosen.quick else FULL
        if refusal := machine.refusal(sizes.crowd):
            sys.exit(f"✗ {refusal}")
        with interruptible():
            results.save(Run(sizes).all(), file)
    found = results.load(file)
    report.write(found, page)
    print(*report.in_short(found), sep="\n")
    say(f"Written to {page}")
    return 1 if found.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
