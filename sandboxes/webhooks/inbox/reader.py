"""Read the events of all running sandboxes, in a thread of the worker.

A sandbox holds the response until it has an event, so an idle one costs three requests a minute.
The requests run in threads of their own, which use no database; this thread leases feeds,
starts their requests and stores the results. Feeds are read in turn, the one that was read least
recently first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

import structlog
from django.db import close_old_connections, connection

from sandboxes import blueprints, explorer
from sandboxes.blueprints.blueprint import EventSource
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import batches, clock
from sandboxes.lib.exceptions import ServiceError
from sandboxes.lib.http.tcp_traffic import HEADER_BYTES, Traffic
from sandboxes.models import EventFeed, Sandbox
from sandboxes.models.inbox import FEED_LEASE
from sandboxes.webhooks.inbox import delivery, feeds, source
from sandboxes.webhooks.inbox.source import WAIT_SECONDS, Page

log = structlog.get_logger(__name__)

MAX_READS = 100
"""Sandboxes of which one worker reads at once."""
LOOK_SECONDS = 1.0
"""Seconds between checks for sandboxes from which no worker reads."""
PAUSE = timedelta(seconds=2)
"""Between reads of a sandbox that can't wait for events, or that has too many."""
RETRY = timedelta(seconds=5)
"""After a read that failed."""
BURST, EVENTS_PER_SECOND = 1000, 50.0
"""Events of a sandbox that are read without a pause, and then per second, so others don't wait."""
TOO_FAST = f"Reading is slowed down to {EVENTS_PER_SECOND:g} events a second."
OPENING = Traffic(HEADER_BYTES * 4 + 350, HEADER_BYTES * 2)
"""About this is sent and received on a connection before the sandbox holds its response."""


@dataclass
class Read:
    """One read of a feed, and its result."""

    feed: EventFeed
    events: EventSource
    access: explorer.PortalAccess
    wait: int
    page: Page | None = None
    error: str = ""
    seconds: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)
    """What is recorded once the events are stored."""
    has_begun: bool = False
    """Whether the traffic before the sandbox holds the response was recorded."""

    @property
    def opening(self) -> Traffic:
        """The traffic that is recorded beforehand: a sweep may look while the sandbox waits."""
        return OPENING if self.wait else Traffic()

    def run(self, on_traffic: Callable[[Traffic], None]) -> None:
        """Send the request."""
        started = monotonic()
        try:
            self.page = source.read(
                self.events, self.access, self.feed.cursor, self.wait, on_traffic
            )
        except ServiceError as error:
            self.error = str(error)
        except Exception:
            log.exception("events_not_read")
            self.error = "Internal error. It has been logged."
        finally:
            self.seconds = monotonic() - started


class Allowances:
    """How many events may be read of each sandbox: a burst, which fills up again."""

    def __init__(self) -> None:
        self._left: dict[int, tuple[float, float]] = {}

    def pause_after(self, feed: int, count: int, now: float) -> timedelta | None:
        """Return how long to pause after this number of events at a time in seconds."""
        left, at = self._left.pop(feed, (float(BURST), now))
        left = min(BURST, left + (now - at) * EVENTS_PER_SECOND) - count
        if len(self._left) >= MAX_READS:
            oldest = next(iter(self._left))
            del self._left[oldest]
        self._left[feed] = left, now
        return timedelta(seconds=-left / EVENTS_PER_SECOND) if left < 0 else None


class Reader:
    """Reads feeds until the process shuts down."""

    def __init__(self) -> None:
        self._allowances = Allowances()
        self._results: SimpleQueue[Callable[[], None]] = SimpleQueue()
        """What threads with requests leave to the thread with the database."""
        self._open: dict[int, Read] = {}
        """Reads in progress, by feed."""

    def run(self) -> None:
        """Read until the process shuts down; then leave the feeds to other workers."""
        while not batches.stopping.is_set():
            try:
                self.start_reads()
                close_old_connections()  # None is held while the thread waits.
                self.store_results(LOOK_SECONDS)
            except Exception:
                # The database may be away for a moment.
                log.exception("event_reader_failed")
                batches.stopping.wait(LOOK_SECONDS)
            finally:
                close_old_connections()
        for read in self._open.values():
            _release(read.feed, "", None)

    def start_reads(self) -> None:
        """Start the reads that are due."""
        for read in due(MAX_READS - len(self._open)):
            self._open[read.feed.pk] = read
            # The process ends without waiting for the sandboxes.
            Thread(target=self._read, args=[read], name="events", daemon=True).start()

    def store_results(self, seconds: float) -> None:
        """Store the results that arrive within some seconds."""
        try:
            self._results.get(timeout=seconds)()
            while True:
                self._results.get_nowait()()
        except Empty:
            pass

    def _read(self, read: Read) -> None:
        def on_traffic(traffic: Traffic) -> None:
            # The first request asks for a proof of identity, and the second may wait long.
            if read.wait and not read.has_begun:
                read.has_begun = True
                self._results.put(partial(record_traffic, read.feed, traffic))
            else:
                read.traffic += traffic

        try:
            read.run(on_traffic)
        finally:
            self._results.put(partial(self._finish, read))

    def _finish(self, read: Read) -> None:
        self._open.pop(read.feed.pk, None)
        if finish(read, self._allowances):
            # The message to the workers takes longer, and is only needed if this process ends.
            Thread(target=_deliver, name="event-delivery", daemon=True).start()


def start() -> None:
    """Read events in a thread, until the process shuts down."""
    Thread(target=Reader().run, name="event-reader", daemon=True).start()


def due(capacity: int) -> Iterable[Read]:
    """Lease feeds from which no worker reads, and yield the requests to send."""
    now = clock.now()
    rows = list(EventFeed.objects.unread(now).select_related("sandbox")[: capacity + 1])
    # With more feeds than threads, no request waits for events.
    wait = WAIT_SECONDS if len(rows) <= capacity else 0
    for feed in rows[:capacity]:
        until = now + FEED_LEASE
        if not EventFeed.objects.unread(now).claim(feed.pk, leased_until=until, read_at=now):
            continue
        feed.leased_until = until
        if read := _prepare(feed, wait):
            yield read


def _prepare(feed: EventFeed, wait: int) -> Read | None:
    sandbox = Sandbox.objects.get(pk=feed.sandbox_id)
    blueprint = blueprints.find_for_sandbox(sandbox)
    if blueprint is None or blueprint.events is None:
        return None
    if feeds.is_full(sandbox.pk):
        _release(feed, "Reading pauses, because too many deliveries are pending.", PAUSE)
        return None
    events = blueprint.events
    try:
        access = explorer.portal_access(sandbox, events.endpoint, events.secret)
    except (ServiceError, DecryptionError, KeyError) as error:
        _release(feed, str(error), RETRY)
        return None
    read = Read(feed, events, access, wait if "{wait}" in events.list else 0)
    record_traffic(feed, read.opening)
    return read


def finish(read: Read, allowances: Allowances) -> int:
    """Store the result of a read, release its feed, and return the number of events."""
    try:
        if read.page is None:
            _release(read.feed, read.error, RETRY)
            return 0
        found = feeds.store(read.feed.pk, read.feed.epoch, read.page)
    finally:
        before = Traffic(-read.opening.sent, -read.opening.received)
        record_traffic(read.feed, read.traffic + before)
    _go_on(read, found, allowances)
    return found


def _go_on(read: Read, found: int, allowances: Allowances) -> None:
    if pause := allowances.pause_after(read.feed.pk, found, monotonic()):
        _release(read.feed, TOO_FAST, pause)
        return
    # An API may say that it waits, and not do so.
    has_waited = read.seconds > read.wait / 2 > 0
    _release(read.feed, "", None if found or has_waited else PAUSE)


def _deliver() -> None:
    try:
        delivery.deliver_due()
    except Exception:
        # The database may be away for a moment; a sweep makes up for it.
        log.exception("events_not_delivered")
    finally:
        connection.close()


def record_traffic(feed: EventFeed, traffic: Traffic) -> None:
    """Record traffic of the portal, which does not count as activity."""
    if traffic.sent or traffic.received:
        row = Sandbox.objects.filter(pk=feed.sandbox_id)
        row.add_portal_traffic(received=traffic.sent, sent=traffic.received)


def _release(feed: EventFeed, error: str, pause: timedelta | None) -> None:
    """Release the feed, to be read after a pause. A reset may have released it already."""
    until = clock.now() + pause if pause else None
    own = EventFeed.objects.filter(pk=feed.pk, epoch=feed.epoch, leased_until=feed.leased_until)
    own.update(leased_until=until, error=error[:300])
