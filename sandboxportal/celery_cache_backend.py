"""Where the answers of tasks wait to be fetched: in the portal's cache.

All processes share it whatever the broker is, and entries leave it by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.backends.base import KeyValueStoreBackend
from django.core.cache import cache
from kombu.utils.encoding import bytes_to_str

LONGEST_NAP_SECONDS = 0.1


class CacheBackend(KeyValueStoreBackend):
    """What Celery finds under `sandboxportal.celery_cache_backend.CacheBackend`."""

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
        interval: float = LONGEST_NAP_SECONDS,
        no_ack: bool = True,
        on_interval: Callable[[], None] | None = None,
    ) -> Any:
        """Look more often than Celery's half second: a person waits for the answer."""
        nap = min(interval, LONGEST_NAP_SECONDS)
        return super().wait_for(task_id, timeout, nap, no_ack, on_interval)
