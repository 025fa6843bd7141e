"""What the card, the API and the admin say about the end of a sandbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sandboxes.models import Sandbox, State
from sandboxes.representations import display
from tests.conftest import Clock

pytestmark = pytest.mark.django_db

MAX = " (maximum lifetime)"
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires", "idle", "cap", "reason", "counts_to", "summary", "is_soon"),
    [
        (60, 30, 240, "expired", 60, "Expires at 13:00 UTC. Stops at 12:30 UTC if idle.", False),
        (20, 30, 240, "expired", 20, "Expires at 12:20 UTC.", False),
        (60, 5, 240, "idle", 5, "Stops at 12:05 UTC if idle. Expires at 13:00 UTC.", True),
        (4, 3, 240, "idle", 3, "Stops at 12:03 UTC if idle. Expires at 12:04 UTC.", True),
        (4, 30, 240, "expired", 4, "Expires at 12:04 UTC.", True),
        (30, 30, 240, "expired", 30, "Expires at 12:30 UTC.", False),
        (90, 30, 90, "cap", 90, f"Expires at 13:30 UTC{MAX}. Stops at 12:30 UTC if idle.", False),
        (4, 30, 4, "cap", 4, f"Expires at 12:04 UTC{MAX}.", True),
    ],
)  # fmt: skip
def test_the_lifetime_is_counted_down_unless_the_idle_timeout_is_near(
    clock: Clock,
    expires: int,
    idle: int,
    cap: int,
    reason: str,
    counts_to: int,
    summary: str,
    is_soon: bool,
) -> None:
    clock.traveller.move_to(NOON)
    row = Sandbox(
        state=State.RUNNING,
        expires_at=NOON + timedelta(minutes=expires),
        hard_cap_at=NOON + timedelta(minutes=cap),
        last_activity_at=NOON + timedelta(minutes=idle - 30),
        idle_minutes=30,
    )
    deadline = display.deadline(row)
    assert (deadline.reason, deadline.at) == (reason, NOON + timedelta(minutes=counts_to))
    assert (deadline.summary, deadline.is_soon) == (summary, is_soon)


def test_a_short_idle_timeout_is_not_always_near(clock: Clock) -> None:
    clock.traveller.move_to(NOON)
    row = Sandbox(
        state=State.RUNNING,
        expires_at=NOON + timedelta(minutes=60),
        hard_cap_at=NOON + timedelta(minutes=240),
        last_activity_at=NOON,
        idle_minutes=5,
    )
    assert display.deadline(row).reason == "expired"
    clock.forward(minutes=3)
    assert display.deadline(row).reason == "idle"
