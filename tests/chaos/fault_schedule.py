"""The order in which processes are killed, and where. It follows from a seed.

All points before and after engine calls are shuffled and used one after the other; in between,
processes are killed at random database statements and messages. How many calls a process makes also
depends on the engine, so a repeated run is similar but not identical. A point that a process didn't
reach is queued again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.fakes.docker_proxy import Fault

CALL, STATEMENT, MESSAGE = "engine call", "statement", "message"
SCENARIOS = {
    "launch": (STATEMENT, MESSAGE),
    "provision": (CALL, STATEMENT, MESSAGE),
    "fill pool": (CALL, STATEMENT),
    "claim": (STATEMENT, MESSAGE),
    "reset": (CALL, STATEMENT),
    "destroy": (CALL, STATEMENT),
    "sweep": (CALL, STATEMENT, MESSAGE),
}
"""The kinds of points at which a process can be killed, by scenario."""
SHUFFLED_SHARE = 0.85
"""Probability that the next kill is at one of the shuffled points, while any are left."""
MAX_ATTEMPTS = 3
"""Some points are only reached by a process with more work."""
MINOR_FAULT_PROBABILITY = 0.2
MINOR_FAULTS = (Fault.LOSE, Fault.REFUSE, Fault.DELAY)

Counts = Mapping[str, Mapping[str, int]]
"""Number of engine calls, statements and messages of each scenario when nothing is killed."""


@dataclass(frozen=True)
class Point:
    """Where a process is killed: before or after its n-th engine call, statement or message."""

    kind: str
    number: int
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.kind} {self.number}"


@dataclass(frozen=True)
class Kill:
    """An entry of the schedule; `minor_faults` affect the engine calls with these numbers."""

    scenario: str
    at: Point
    minor_faults: Mapping[int, Fault]


ScenarioPoint = tuple[str, Point]
"""A scenario, and a point in it."""


def shuffled_points(
    seed: str, counts: Counts, share: tuple[int, int] = (0, 1)
) -> list[ScenarioPoint]:
    """Return every point before and after an engine call in the seed's order.

    `share` (i, n) selects every n-th point, starting with the i-th.
    """
    points = [
        (scenario, Point(CALL, number, after=after))
        for scenario, by_kind in counts.items()
        for number in range(1, by_kind.get(CALL, 0) + 1)
        for after in (False, True)
    ]
    random.Random(seed).shuffle(points)
    return points[share[0] :: share[1]]


class FaultSchedule(Iterator[Kill]):
    """An endless sequence of kills."""

    def __init__(self, rng: random.Random, points: list[ScenarioPoint], counts: Counts) -> None:
        self._rng, self._counts = rng, counts
        self._left, self._attempts = list(points), Counter[ScenarioPoint]()

    def __next__(self) -> Kill:
        shuffled = self._left and self._rng.random() < SHUFFLED_SHARE
        scenario, point = chosen = self._left.pop() if shuffled else self._random_point()
        self._attempts[chosen] += bool(shuffled)
        return Kill(scenario, point, self._minor_faults(scenario))

    def requeue(self, kill: Kill) -> None:
        """Queue the point again, after all others, because the process didn't reach it."""
        point = (kill.scenario, kill.at)
        if 0 < self._attempts[point] < MAX_ATTEMPTS:
            self._left.insert(0, point)

    def _random_point(self) -> ScenarioPoint:
        """Return a random point; at an engine call only when no shuffled points are left."""
        scenario = self._rng.choice(list(self._counts))
        counts = self._counts[scenario]
        kind = self._rng.choice(
            [kind for kind, count in counts.items() if count and not (self._left and kind == CALL)]
        )
        number = self._rng.randint(1, counts[kind])
        return scenario, Point(kind, number, after=self._rng.random() < 0.5)

    def _minor_faults(self, scenario: str) -> dict[int, Fault]:
        """Return a fault for one engine call (a delay, a rejection, a lost response), or none."""
        calls = self._counts[scenario].get(CALL, 0)
        if not calls or self._rng.random() > MINOR_FAULT_PROBABILITY:
            return {}
        return {self._rng.randint(1, calls): self._rng.choice(MINOR_FAULTS)}
