"""A Celery result backend that stores results in Django's cache.

All processes share the cache, with any broker, and its entries expire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.backends.base import KeyValueStoreBackend
from django.core.cache import cache
from kombu.utils.encoding import bytes_to_str

MAX_POLL_SECONDS = 0.1


class CacheBackend(KeyValueStoreBackend):
    """The backend of `CELERY_RESULT_BACKEND`."""

    key_t = staticmethod(bytes_to_str)  # type: ignore[assignment]

    def get(self, key: str) -> Any:
        return cache.get(key)

    def set(self, key: str, value: str) -> None:
        cache.set(key, value, self.expires)  # type: ignore[attr-defined]

    def delete(self, key: str) -> None:
        cache.delete(key)

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = MAX_POLL_SECONDS,
        no_ack: bool = True,
        on_interval: Callable[[], None] | None = None,
    ) -> Any:
        """Poll more often than Celery's 0.5 s, because a person waits for the result."""
        interval = min(interval, MAX_POLL_SECONDS)
        return super().wait_for(task_id, timeout, interval, no_ack, on_interval)
