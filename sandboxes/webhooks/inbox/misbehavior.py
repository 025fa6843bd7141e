"""Deliveries that go wrong on purpose, so that receivers can be tested."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

OVERTAKEN_SECONDS = (2.0, 10.0)
"""How long an event of `disorder` waits, while later ones overtake it."""

Percent = Annotated[int, Field(ge=0, le=100)]


class Misbehavior(BaseModel):
    """What goes wrong, each as a share of the deliveries in percent; the delay applies to all."""

    model_config = ConfigDict(extra="forbid")

    duplicates: Percent = 0
    disorder: Percent = 0
    wrong_signatures: Percent = 0
    delay_seconds: Annotated[int, Field(ge=0, le=300)] = 0

    def due_times(self, now: datetime) -> list[datetime]:
        """Return when an event is delivered: once, or twice for a duplicate."""
        seconds = float(self.delay_seconds)
        if _happens(self.disorder):
            seconds += random.uniform(*OVERTAKEN_SECONDS)  # noqa: S311 - no secret
        due_at = now + timedelta(seconds=seconds)
        return [due_at] * (2 if _happens(self.duplicates) else 1)

    def signs_wrongly(self) -> bool:
        """Return whether this attempt gets a signature by another secret."""
        return _happens(self.wrong_signatures)


def _happens(percent: int) -> bool:
    return random.randrange(100) < percent  # noqa: S311 - no secret
