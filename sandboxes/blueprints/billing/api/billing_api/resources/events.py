"""Events: every change of the data, which triggers record."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType
from psycopg2.sql import SQL, Identifier

from ..database import Cursor
from ..web import Call, NothingYet, Operation, invalid
from .crud import read_operations
from .models import (
    INVOICES,
    PAYMENT_METHODS,
    PAYMENTS,
    PLANS,
    REFUNDS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    ObjectId,
    Timestamp,
)
from .table import MomentFilter, Page, PageQuery, Table

EventType = Literal[
    "plan.created",
    "plan.updated",
    "subscriber.created",
    "subscriber.updated",
    "payment_method.attached",
    "payment_method.updated",
    "payment_method.detached",
    "subscription.created",
    "subscription.updated",
    "subscription.trial_will_end",
    "subscription.activated",
    "subscription.renewed",
    "subscription.plan_changed",
    "subscription.past_due",
    "subscription.recovered",
    "subscription.paused",
    "subscription.resumed",
    "subscription.canceled",
    "invoice.created",
    "invoice.updated",
    "invoice.finalized",
    "invoice.overdue",
    "invoice.payment_failed",
    "invoice.paid",
    "invoice.voided",
    "invoice.written_off",
    "payment.created",
    "payment.updated",
    "payment.requires_action",
    "payment.succeeded",
    "payment.failed",
    "payment.partially_refunded",
    "payment.refunded",
    "refund.created",
    "stellar_payment.created",
    "stellar_payment.updated",
    "stellar_payment.paid",
    "stellar_payment.late",
    "test_clock.advanced",
]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
EventId = Annotated[
    str,
    Meta(
        pattern=r"^evt_[0-9]{9,19}\Z",
        description="Id of an event",
        examples=["evt_000000001"],
    ),
]
Seconds = Annotated[
    int,
    Meta(ge=0, le=25, description="With `after`: seconds to wait for an event if there is none"),
]
BEFORE_THE_FIRST = "evt_000000000"
TABLES: dict[str, Table[Any]] = {
    table.name.removesuffix("s"): table
    for table in (
        PLANS,
        SUBSCRIBERS,
        PAYMENT_METHODS,
        SUBSCRIPTIONS,
        INVOICES,
        PAYMENTS,
        REFUNDS,
    )
}
"""The tables of objects by the first word of the types of their events."""

# Transactions commit in another order than they write. An event is returned once all older
# transactions have ended, so that a reader who goes on after the last event misses none.
IN_ORDER = """
    SELECT id, type, object_id, data, previous, created_at FROM events
    WHERE (transaction, number) > (%s::xid8, %s)
        AND transaction < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY transaction, number LIMIT %s
"""
POSITION = "SELECT transaction::text, number FROM events WHERE id = %s"


class Event(Struct):
    """A change of an object: its row afterwards, and the old values of the fields that changed."""

    id: str
    type: str
    object_id: str
    data: dict[str, Any]
    previous: dict[str, Any] | None
    created_at: Timestamp


class NewEvent(Struct, forbid_unknown_fields=True):
    """An event to record, with the object as it is now."""

    type: EventType
    object_id: ObjectId


class EventQuery(PageQuery, kw_only=True):
    """Filters of the list of events.

    With ``after``, events are returned oldest first, from the one that follows it; the response
    waits up to ``wait`` seconds for an event.
    """

    type: EventType | UnsetType = UNSET
    object_id: ObjectId | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET
    after: EventId | UnsetType = UNSET
    wait: Seconds | UnsetType = UNSET


EVENTS = Table("events", "event", Event)


def page(call: Call) -> Page[Event]:
    """Newest first; with `after`, oldest first and without other filters.

    `after=evt_000000000` begins with the oldest event. `total` counts all events then.
    """
    query: EventQuery = call.query
    if query.after is UNSET:
        if query.wait:
            raise invalid("wait", "needs `after`")
        return EVENTS.page(call.cursor, query)
    given = [name for name in EventQuery.__struct_fields__ if getattr(query, name) is not UNSET]
    for name in set(given) - {"after", "limit", "wait"}:
        raise invalid(name, "can't be combined with `after`")
    transaction, number = _position(call.cursor, query.after)
    call.cursor.execute(IN_ORDER, (transaction, number, query.limit + 1))
    rows = [Event(*row) for row in call.cursor.fetchall()]
    if call.may_wait and not rows:
        raise NothingYet
    call.cursor.execute("SELECT count(*) FROM events")
    (total,) = call.cursor.fetchone() or (0,)
    return Page(rows[: query.limit], len(rows) > query.limit, None, total)


def create(call: Call) -> Event:
    """Record an event of any type on demand, with an object as it is now."""
    body: NewEvent = call.body
    noun = body.type.partition(".")[0]
    if noun not in TABLES:
        raise invalid("type", "can't be recorded on demand; advance the test clock")
    table = TABLES[noun]
    table.get_referenced(call.cursor, "object_id", body.object_id)
    record = SQL(
        "INSERT INTO events (type, object_id, data)"
        " SELECT %s, id, billing.event_data(to_jsonb(t)) FROM {} AS t WHERE id = %s RETURNING id"
    )
    call.cursor.execute(record.format(Identifier(table.name)), (body.type, body.object_id))
    (event_id,) = call.cursor.fetchone() or ("",)
    return EVENTS.get(call.cursor, event_id)


def _position(cursor: Cursor, event_id: str) -> tuple[str, int]:
    if event_id == BEFORE_THE_FIRST:
        return "0", 0
    cursor.execute(POSITION, (event_id,))
    if not (row := cursor.fetchone()):
        raise invalid("after", f"no such event; begin with {BEFORE_THE_FIRST} after a reset")
    transaction, number = row
    return transaction, number


LIST, GET = read_operations(EVENTS, EventQuery, page=page)
OPERATIONS = [
    LIST,
    GET,
    Operation(
        "createEvent", "POST", "/v1/events", "Record an event", create, Event, NewEvent, status=201
    ),
]
