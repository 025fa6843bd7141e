"""The test clock: look at it, move it on, freeze and resume it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from ..cycle import clock
from ..cycle.due import work_through
from ..database import Cursor
from ..web import Call, Operation, invalid
from .models import Timestamp

LATEST_YEAR = 2090
MAX_ADVANCE = "2 years"
SHOWN_STEPS = 20

Duration = Annotated[
    str,
    Meta(
        pattern=r"^P(?=[0-9T])([0-9]{1,3}Y)?([0-9]{1,3}M)?([0-9]{1,3}W)?([0-9]{1,4}D)?"
        r"(T(?=[0-9])([0-9]{1,5}H)?([0-9]{1,6}M)?([0-9]{1,7}S)?)?\Z",
        description="ISO 8601 duration: P1M is a month, P3D three days, PT1H an hour",
        examples=["P1M"],
    ),
]


class ScheduledStep(Struct):
    """What the sandbox does next, without a request."""

    at: Timestamp
    action: str
    object_id: str


class SandboxClock(Struct):
    """The time of the sandbox, which the API and the database share."""

    now: Timestamp
    frozen: bool
    next: list[ScheduledStep]


class ClockChanges(Struct, forbid_unknown_fields=True):
    """Where to move the clock, and whether it then stands still or runs.

    A clock that runs moves on with real time. A reset of the sandbox returns it to real time.
    """

    advance_to: Timestamp | None = None
    advance_by: Duration | None = None
    freeze: bool = False
    resume: bool = False


def get(call: Call) -> SandboxClock:
    """Return the time, and the next 20 steps that are due."""
    return _state(call.cursor)


def change(call: Call) -> SandboxClock:
    """Advance, freeze or resume the clock. Everything due until then is done, in order."""
    body: ClockChanges = call.body
    if body.advance_to and body.advance_by:
        raise invalid("advance_by", "send either `advance_to` or `advance_by`")
    if body.freeze and body.resume:
        raise invalid("resume", "send either `freeze` or `resume`")
    if not (body.advance_to or body.advance_by or body.freeze or body.resume):
        raise invalid("advance_to", "send `advance_to`, `advance_by`, `freeze` or `resume`")
    now = clock.now(call.cursor)
    target = _target(call.cursor, body, now)
    work_through(call.cursor, target)
    _set(call.cursor, body, target)
    if target > now:
        call.cursor.execute(RECORD, {"now": now, "target": target})
    return _state(call.cursor)


def _target(cursor: Cursor, body: ClockChanges, now: datetime) -> datetime:
    """Return the time to move to. Raises a 422 problem."""
    field = "advance_to" if body.advance_to else "advance_by"
    cursor.execute(
        "SELECT coalesce(%s, billing.now() + coalesce(%s, 'P0D')::interval),"
        " billing.now() + %s::interval",
        (body.advance_to, body.advance_by, MAX_ADVANCE),
    )
    target: datetime
    target, latest = cursor.fetchone() or (now, now)
    if target < now or (body.advance_to and target == now):
        raise invalid(
            field,
            f"must be later than the clock, {now:%Y-%m-%dT%H:%M:%SZ};"
            " to go back, reset the sandbox",
        )
    if target > latest:
        raise invalid(
            field, f"must be at most {MAX_ADVANCE} after the clock; advance in several steps"
        )
    if target.year >= LATEST_YEAR:
        raise invalid(field, f"must be before the year {LATEST_YEAR}")
    return target


def _set(cursor: Cursor, body: ClockChanges, target: datetime) -> None:
    cursor.execute(SET, {"target": target, "freeze": body.freeze, "resume": body.resume})


def _state(cursor: Cursor) -> SandboxClock:
    cursor.execute("SELECT billing.now(), frozen_at IS NOT NULL FROM test_clock")
    now, frozen = cursor.fetchone() or (clock.now(cursor), False)
    cursor.execute(NEXT, (SHOWN_STEPS,))
    return SandboxClock(now, frozen, [ScheduledStep(*row) for row in cursor.fetchall()])


SET = """
    UPDATE test_clock SET
        frozen_at = CASE WHEN %(freeze)s OR (frozen_at IS NOT NULL AND NOT %(resume)s)
                    THEN %(target)s::timestamptz END,
        ahead = make_interval(secs => extract(epoch FROM %(target)s::timestamptz - now())::float8)
"""
NEXT = "SELECT at, action, object_id FROM scheduled ORDER BY at, rank, object_id LIMIT %s"
RECORD = """
    INSERT INTO events (type, object_id, data)
    VALUES ('test_clock.advanced', 'test_clock', jsonb_build_object(
        'from', %(now)s::timestamptz, 'to', %(target)s::timestamptz))
"""
PATH = "/v1/test_clock"
OPERATIONS = [
    Operation("getTestClock", "GET", PATH, "Get the test clock", get, SandboxClock),
    Operation(
        "changeTestClock",
        "POST",
        PATH,
        "Change the test clock",
        change,
        SandboxClock,
        ClockChanges,
        clock_lock="exclusive",
    ),
]
