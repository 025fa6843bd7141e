"""Kombu's Redis broker, which drops what isn't a message instead of ending the worker."""

from __future__ import annotations

from queue import Empty
from typing import Any

import structlog
from kombu.transport import redis

log = structlog.get_logger(__name__)

MALFORMED = (AttributeError, LookupError, TypeError, ValueError)
"""What Kombu raises for entries of the queue that aren't messages."""


class Channel(redis.Channel):
    """Channel whose queue may contain anything."""

    def _brpop_read(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))  # type: ignore[misc]
        except MALFORMED as error:
            log.warning("queue_message_unreadable", error=f"{error!r:.200}")
            raise Empty from error


class Transport(redis.Transport):
    """The transport of `redis://` and `rediss://` URLs."""

    Channel = Channel
