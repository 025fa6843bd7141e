"""A Celery result backend that stores results in Django's cache.

All processes share the cache, with any broker, and its entries expire. An entry is data that any of
them may have written: what isn't a result counts as none, and a failed task's exception isn't
restored, since the entry would choose its class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery import states
from celery.backends.base import KeyValueStoreBackend
from django.core.cache import cache
from kombu.exceptions import KombuError
from kombu.utils.encoding import bytes_to_str

log = structlog.get_logger(__name__)

MAX_POLL_SECONDS = 0.1


class TaskFailed(Exception):
    """A task whose result was waited for has failed; the worker's log has its traceback."""


class CacheBackend(KeyValueStoreBackend):
    """The backend of `CELERY_RESULT_BACKEND`."""

    key_t = staticmethod(bytes_to_str)  # type: ignore[assignment]

    def get(self, key: str) -> str | None:
        value = cache.get(key)
        return value if isinstance(value, str) else None

    def set(self, key: str, value: str) -> None:
        cache.set(key, value, self.expires)  # type: ignore[attr-defined]

    def delete(self, key: str) -> None:
        cache.delete(key)

    def decode_result(self, payload: Any) -> Any:
        try:
            return super().decode_result(payload)
        except (KombuError, LookupError, TypeError, ValueError) as error:
            log.warning("task_result_unreadable", error=type(error).__name__)
            return {"status": states.PENDING, "result": None}

    def exception_to_python(self, exc: object) -> Exception:
        """Return a general exception; a task reports what callers need to know in its result."""
        return TaskFailed(str(exc))

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
