"""Who is killed where, one after the other: it follows from a seed.

A deck of all points before and after engine calls is shuffled and dealt, and between its cards
processes die at statements of the database and at messages. How far a process comes is the engine's
doing too, so a repeated run is alike, and not the same; the card of a process that did not come so
far goes back into the deck.
"""

from __future__ import annotations

import random
from collections import Counter
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
OF_THE_DECK = 0.85
"""How often the next card is dealt."""
DEALT_AT_MOST = 3
"""Some points only a process with more to do would come to."""
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


Card = tuple[str, Point]
"""The scene, and where in it."""


def deck(seed: str, passed: Passed, share: tuple[int, int] = (0, 1)) -> list[Card]:
    """Every point before and after an engine call, in the seed's order; of this share of them."""
    cards = [
        (scene, Point(CALL, number, after=after))
        for scene, counts in passed.items()
        for number in range(1, counts.get(CALL, 0) + 1)
        for after in (False, True)
    ]
    random.Random(seed).shuffle(cards)
    return cards[share[0] :: share[1]]


class Schedule(Iterator[Kill]):
    """One kill after the other, without end."""

    def __init__(self, chance: random.Random, cards: list[Card], passed: Passed) -> None:
        self._chance, self._passed = chance, passed
        self._left, self._dealt = list(cards), Counter[Card]()

    def __next__(self) -> Kill:
        dealt = self._left and self._chance.random() < OF_THE_DECK
        scene, point = card = self._left.pop() if dealt else self._anywhere()
        self._dealt[card] += bool(dealt)
        return Kill(scene, point, self._lesser(scene))

    def put_back(self, kill: Kill) -> None:
        """Nobody was killed, so it comes up again when the others had their turn."""
        card = (kill.scene, kill.at)
        if 0 < self._dealt[card] < DEALT_AT_MOST:
            self._left.insert(0, card)

    def _anywhere(self) -> Card:
        """At no engine call while there are cards left, which are for these."""
        scene = self._chance.choice(list(self._passed))
        counts = self._passed[scene]
        kind = self._chance.choice(
            [kind for kind, count in counts.items() if count and not (self._left and kind == CALL)]
        )
        number = self._chance.randint(1, counts[kind])
        return scene, Point(kind, number, after=self._chance.random() < 0.5)

    def _lesser(self, scene: str) -> dict[int, Fault]:
        """Some acts meet an engine that is slow, refuses, or loses an answer besides."""
        calls = self._passed[scene].get(CALL, 0)
        if not calls or self._chance.random() > MEETS_ANOTHER_FAULT:
            return {}
        return {self._chance.randint(1, calls): self._chance.choice(LESSER)}
