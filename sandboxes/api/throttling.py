"""So much in one minute, and no more: calls of one person, wrong tokens from one address.

All processes count in the cache, which they share. What is allowed often is told to it in shares of
a twentieth, so that a call costs no write; so much may each process be late with.
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

MINUTE = 60
SHARES = 20


class Throttle:
    """Counts by the minute what the setting of this name limits; 0 there is no limit."""

    def __init__(self, policy: str, setting: str) -> None:
        self.policy = policy
        self.setting = setting
        self._lock = threading.Lock()
        self.forget()

    def count(self, whose: str) -> None:
        """One more of it. Raises RateLimited when it is too many."""
        limit, now = getattr(settings, self.setting), int(clock.now().timestamp())
        if limit > 0 and self._total(whose, limit, now // MINUTE) > limit:
            again = datetime.fromtimestamp((now // MINUTE + 1) * MINUTE, UTC)
            raise RateLimited(self.policy, limit, MINUTE, again)

    def forget(self) -> None:
        """What this process knows; the cache is not asked to."""
        self._minute = 0
        self._untold: Counter[str] = Counter()
        self._known: dict[str, int] = {}

    def _total(self, whose: str, limit: int, minute: int) -> int:
        with self._lock:
            if minute != self._minute:
                self.forget()
                self._minute = minute
            self._untold[whose] += 1
            known, untold = self._known.get(whose, 0), self._untold[whose]
            if known > limit or (untold < max(1, limit // SHARES) and whose in self._known):
                return known + untold
            del self._untold[whose]
        total = self._tell(whose, untold, minute)
        self._known[whose] = total
        return total

    def _tell(self, whose: str, share: int, minute: int) -> int:
        # Nobody's address or name is in the cache for whoever reads it.
        name = hashlib.sha256(whose.encode()).hexdigest()[:32]
        key = f"throttle:{self.policy}:{name}:{minute}"
        try:
            cache.add(key, 0, 2 * MINUTE)
            return cache.incr(key, share)
        except Exception as error:  # noqa: BLE001 - of whichever cache; no answer depends on it
            log.warning("throttle_cannot_count", policy=self.policy, error=type(error).__name__)
            return share


calls = Throttle("calls", "API_CALLS_PER_MINUTE")
wrong_tokens = Throttle("wrong-tokens", "API_WRONG_TOKENS_PER_MINUTE")
