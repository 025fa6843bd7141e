"""The stream of a user's events: what webhooks report, and what the inboxes of sandboxes receive.

Rows become visible when their transaction commits, which may be in another order than that of their
keys. So a position is only moved past rows that are older than any transaction; newer ones are read
again, and readers of the stream drop those that they have seen, by their `id`.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, QuerySet

from sandboxes.lib import clock
from sandboxes.lib.pagination import decode_cursor, encode_cursor
from sandboxes.models import Event, SandboxEvent
from sandboxes.representations import serializers
from sandboxes.webhooks.messages import encode
from sandboxes.webhooks.publish import EVENT_TYPES

SETTLED_AFTER = timedelta(seconds=10)
"""The age at which all transactions with a row have ended, which take milliseconds."""
MAX_EVENTS = 200
"""Events of each kind in one read."""
CURSOR_KIND = "stream"


@dataclass(frozen=True)
class Position:
    """How far a stream was read, in the journal and in the inboxes."""

    journal: int = 0
    inbox: int = 0

    @property
    def cursor(self) -> str:
        """The position as text."""
        return encode_cursor((self.journal, self.inbox), CURSOR_KIND)

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Return the position of a cursor. Raises ValidationFailed."""
        return cls(*decode_cursor(cursor, CURSOR_KIND))


@dataclass(frozen=True)
class StreamEvent:
    """An event as a webhook message, and its owner. Portal events show the sandbox as it is now."""

    id: str
    """The header `webhook-id`."""
    type: str
    source: str
    """`portal` or `sandbox`."""
    sandbox_id: str
    owner_id: int
    at: datetime
    body: str
    seen: Position
    """The position after the event, but not past rows before which others may still appear."""


def present() -> Position:
    """Return the position after everything that is visible now."""
    newest = (rows.aggregate(pk=Max("pk"))["pk"] for rows in (_journal(), _inbox()))
    return Position(*(pk or 0 for pk in newest))


def position_at(moment: datetime) -> Position:
    """Return the position before what has happened since then."""
    return Position(
        _last(_journal().filter(created_at__lt=moment)),
        _last(_inbox().filter(received_at__lt=moment)),
    )


def read(owners: Collection[int], after: Position) -> tuple[list[StreamEvent], Position]:
    """Return the events of these users after a position, by time, and the next position."""
    settled = position_at(clock.now() - SETTLED_AFTER)
    reported = _journal().filter(pk__gt=after.journal, kind__in=EVENT_TYPES)
    reported = reported.filter(sandbox__owner__in=owners).select_related("sandbox")
    received = _inbox().filter(pk__gt=after.inbox, sandbox__owner__in=owners)
    # Only what names the sandbox: its row is wide.
    received = received.select_related("sandbox").only(
        "message_id", "type", "body", "received_at", "sandbox__public_id", "sandbox__owner_id"
    )
    journal = list(reported.order_by("pk")[:MAX_EVENTS])
    inbox = list(received.order_by("pk")[:MAX_EVENTS])
    end = Position(
        _next(journal, after.journal, settled.journal), _next(inbox, after.inbox, settled.inbox)
    )
    merged = heapq.merge(map(_from_journal, journal), map(_from_inbox, inbox), key=_time)
    return list(_with_positions(merged, after, end)), end


def _with_positions(
    events: Iterable[tuple[Position, StreamEvent]], after: Position, end: Position
) -> Iterator[StreamEvent]:
    """Give each event the position after it, up to the end of what is settled."""
    seen = after
    for own, event in events:
        seen = Position(
            max(seen.journal, min(own.journal, end.journal)),
            max(seen.inbox, min(own.inbox, end.inbox)),
        )
        yield replace(event, seen=seen)


def _time(item: tuple[Position, StreamEvent]) -> datetime:
    return item[1].at


def _journal() -> QuerySet[Event]:
    return Event.objects.all()


def _inbox() -> QuerySet[SandboxEvent]:
    return SandboxEvent.objects.all()


def _last(rows: QuerySet[Any]) -> int:
    return rows.order_by("-pk").values_list("pk", flat=True).first() or 0


def _next(rows: list[Any], after: int, settled: int) -> int:
    """Return the position after what is settled; what follows a full page waits for that."""
    end = min(int(rows[-1].pk), settled) if len(rows) == MAX_EVENTS else settled
    return max(after, end)


def _from_journal(event: Event) -> tuple[Position, StreamEvent]:
    kind, sandbox = EVENT_TYPES[event.kind], event.sandbox
    assert sandbox.owner_id
    data = serializers.sandbox(sandbox).model_dump(mode="json")
    digest = hashlib.sha256(f"{event.pk} {event.created_at.isoformat()}".encode()).hexdigest()
    own = Position(journal=event.pk)
    return own, StreamEvent(
        id=f"msg_{digest[:16]}",
        type=kind,
        source="portal",
        sandbox_id=sandbox.public_id,
        owner_id=sandbox.owner_id,
        at=event.created_at,
        body=encode(kind, event.created_at, data),
        seen=own,
    )


def _from_inbox(event: SandboxEvent) -> tuple[Position, StreamEvent]:
    assert event.sandbox.owner_id
    own = Position(inbox=event.pk)
    return own, StreamEvent(
        id=event.message_id,
        type=event.type,
        source="sandbox",
        sandbox_id=event.sandbox.public_id,
        owner_id=event.sandbox.owner_id,
        at=event.received_at,
        body=event.body,
        seen=own,
    )
