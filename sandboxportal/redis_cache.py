"""The cache in Redis, with JSON values and a fallback while Redis doesn't respond."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.core.cache.backends.redis import RedisCacheClient
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from sandboxes.lib.circuit_breaker import CircuitBreaker
from sandboxportal.database_cache import JSONSerializer, parse_entries

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 1
PAUSE_SECONDS = 5
"""For how long a process uses its own memory after Redis failed."""


class JSONRedisClient(RedisCacheClient):
    """Redis client that treats entries that aren't JSON as missing, and removes them."""

    def get(self, key: Any, default: Any) -> Any:
        return self.get_many([key]).get(key, default)

    def get_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        names = list(keys)
        found = self.get_client(None).mget(names)
        rows = [(name, text) for name, text in zip(names, found, strict=True) if text is not None]
        values = parse_entries(rows)
        if unreadable := [name for name, _ in rows if name not in values]:
            self.delete_many(unreadable)
        return values

    def incr(self, key: Any, delta: int) -> int:
        try:
            return int(super().incr(key, delta))
        except ResponseError as error:
            raise ValueError(f"“{key}” isn't an integer") from error


class FallbackClient:
    """Redis client that uses this process's memory while Redis doesn't respond."""

    def __init__(self, servers: list[str], **options: Any) -> None:
        defaults: dict[str, Any] = {
            "serializer": JSONSerializer,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            "socket_timeout": TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
        }
        self.remote = JSONRedisClient(servers, **defaults | options)
        self._local = LocMemCache("redis-fallback", {})
        self._breaker = CircuitBreaker(PAUSE_SECONDS)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return partial(self._call, operation)

    def _call(self, operation: str, *args: Any) -> Any:
        if self._breaker.allows_call():
            try:
                result = getattr(self.remote, operation)(*args)
            except (RedisError, OSError) as error:
                self._breaker.record_failure()
                log.warning("cache_unreachable", error=type(error).__name__)
            else:
                self._breaker.record_success()
                return result
        return getattr(self._local, operation)(*args)


class RedisCache(DjangoRedisCache):
    """Django's Redis cache, with JSON values and short timeouts.

    While Redis doesn't respond, each process has its own cache: rate limits apply per process, and
    users can still sign in.
    """

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = FallbackClient

    def ping(self) -> None:
        """Raise RedisError unless the server responds, even while the portal does without it."""
        self._cache.remote.get_client().ping()  # type: ignore[attr-defined]
