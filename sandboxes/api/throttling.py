"""Rate limits by minute: API requests per user, and invalid tokens per client address.

All processes share the counters in the cache. Each process adds its count in batches of a twentieth
of the limit, so that most requests need no write. The total may therefore exceed the limit by one
batch per process.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.core.cache import cache

from sandboxes.lib import clock
from sandboxes.lib.exceptions import RateLimited

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 60
FLUSHES_PER_LIMIT = 20
"""How often a process adds its count to the cache before the limit is reached."""


class Throttle:
    """A rate limit per minute, read from the setting of this name; 0 means unlimited."""

    def __init__(self, policy: str, setting: str) -> None:
        self.policy = policy
        self.setting = setting
        self._lock = threading.Lock()
        self.reset()

    def count(self, subject: str) -> None:
        """Count one request of this user or address. Raises RateLimited above the limit."""
        limit, now = getattr(settings, self.setting), int(clock.now().timestamp())
        if limit > 0 and self._total(subject, limit, now // WINDOW_SECONDS) > limit:
            next_minute = (now // WINDOW_SECONDS + 1) * WINDOW_SECONDS
            retry_at = datetime.fromtimestamp(next_minute, UTC)
            raise RateLimited(self.policy, limit, WINDOW_SECONDS, retry_at)

    def reset(self) -> None:
        """Drop the counts of this process; those in the cache remain."""
        self._minute = 0
        self._pending: Counter[str] = Counter()
        self._last_total: dict[str, int] = {}

    def _total(self, subject: str, limit: int, minute: int) -> int:
        with self._lock:
            if minute != self._minute:
                self.reset()
                self._minute = minute
            self._pending[subject] += 1
            last, pending = self._last_total.get(subject, 0), self._pending[subject]
            batch = max(1, limit // FLUSHES_PER_LIMIT)
            if last > limit or (pending < batch and subject in self._last_total):
                return last + pending
            del self._pending[subject]
        total = self._flush(subject, pending, minute)
        self._last_total[subject] = total
        return total

    def _flush(self, subject: str, count: int, minute: int) -> int:
        # Hashed, so that the cache holds no addresses or user ids.
        name = hashlib.sha256(subject.encode()).hexdigest()[:32]
        key = f"throttle:{self.policy}:{name}:{minute}"
        try:
            cache.add(key, 0, 2 * WINDOW_SECONDS)
            return cache.incr(key, count)
        except Exception as error:  # noqa: BLE001 - of any cache backend; requests don't depend on it
            log.warning("throttle_cannot_count", policy=self.policy, error=type(error).__name__)
            return count


api_calls = Throttle("calls", "API_CALLS_PER_MINUTE")
invalid_tokens = Throttle("wrong-tokens", "API_WRONG_TOKENS_PER_MINUTE")
