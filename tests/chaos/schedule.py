"""Who is killed where, one after the other: it follows from a seed.

A deck of all points before and after engine calls is shuffled and dealt, and between its cards
processes die at statements of the database and at messages. How far a process comes is the engine's
doing too, so a repeated run is alike, and not the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.relay import Fault

CALL, STATEMENT, MESSAGE = "call", "statement", "message"
SCENES = {
    "launch": (STATEMENT, MESSAGE),
    "provision": (CALL, STATEMENT, MESSAGE),
    "stock the pool": (CALL, STATEMENT),
    "claim": (STATEMENT, MESSAGE),
    "reset": (CALL, STATEMENT),
    "tear down": (CALL, STATEMENT),
    "sweep": (CALL, STATEMENT, MESSAGE),
}
"""At what a process can be killed in each."""
OF_THE_DECK = 0.75
"""How often the next card is dealt."""
MEETS_ANOTHER_FAULT = 0.2
LESSER = (Fault.LOSE, Fault.REFUSE, Fault.DELAY)

Passed = Mapping[str, Mapping[str, int]]
"""How many calls, statements and messages each scene has when nobody is killed."""


@dataclass(frozen=True)
class Point:
    """Where a process is killed: before or after its n-th call, statement or message."""

    kind: str
    number: int
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.kind} {self.number}"


@dataclass(frozen=True)
class Kill:
    """One line of the schedule; `lesser` befalls calls of these numbers before that."""

    scene: str
    at: Point
    lesser: Mapping[int, Fault]


def deck(seed: str, passed: Passed, share: tuple[int, int] = (0, 1)) -> list[tuple[str, Point]]:
    """Every point before and after an engine call, in the seed's order; of this share of them."""
    cards = [
        (scene, Point(CALL, number, after=after))
        for scene, counts in passed.items()
        for number in range(1, counts.get(CALL, 0) + 1)
        for after in (False, True)
    ]
    random.Random(seed).shuffle(cards)
    return cards[share[0] :: share[1]]


def plan(chance: random.Random, cards: list[tuple[str, Point]], passed: Passed) -> Iterator[Kill]:
    """One kill after the other, without end."""
    left = list(cards)
    while True:
        dealt = left and chance.random() < OF_THE_DECK
        scene, point = left.pop() if dealt else _anywhere(chance, passed, but=CALL if left else "")
        yield Kill(scene, point, _lesser(chance, passed[scene].get(CALL, 0)))


def _anywhere(chance: random.Random, passed: Passed, but: str) -> tuple[str, Point]:
    scene = chance.choice(list(passed))
    kind = chance.choice([kind for kind, count in passed[scene].items() if count and kind != but])
    number = chance.randint(1, passed[scene][kind])
    return scene, Point(kind, number, after=chance.random() < 0.5)


def _lesser(chance: random.Random, calls: int) -> dict[int, Fault]:
    """Some acts meet an engine that is slow, refuses, or loses an answer besides."""
    if not calls or chance.random() > MEETS_ANOTHER_FAULT:
        return {}
    return {chance.randint(1, calls): chance.choice(LESSER)}
