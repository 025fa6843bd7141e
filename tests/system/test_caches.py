"""The shared caches store JSON, load nothing else, and expire entries."""

from __future__ import annotations

import pickle
from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection

from sandboxportal.database_cache import DatabaseCache
from sandboxportal.redis_cache import RedisCache
from sandboxportal.settings import _cache as configured
from tests.harness.servers import on_servers, own_redis

if TYPE_CHECKING:
    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.store]

KINDS = ["database", *(["redis"] if on_servers() else [])]
NOT_JSON = [pickle.dumps({"a": 1}), b"", b"{", b"\xff", b"[" * 100_000]


@pytest.fixture(params=KINDS)
def cache(request: pytest.FixtureRequest) -> Iterator[BaseCache]:
    """Return an empty cache of each kind."""
    if request.param == "redis":
        yield RedisCache(own_redis()["CACHE_URL"].replace("rediscache:", "redis:"), {})
    else:
        call_command("createcachetable", "tests_cache", verbosity=0)
        yield DatabaseCache("tests_cache", {})


def plant(cache: BaseCache, key: str, content: bytes) -> None:
    """Store what Django's own backend would, or a damaged entry."""
    name = cache.make_key(key)
    if isinstance(cache, RedisCache):
        cache._cache.remote.get_client().set(name, content)
        return
    text = b64encode(content) if content.startswith(b"\x80") else content
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tests_cache VALUES (%s, %s, %s)",
            [name, text.decode("latin-1"), "2100-01-01 00:00:00"],
        )


@pytest.mark.parametrize(
    "value", ["text", "a\0b", "\ud800", 5, -1, 2**63, 1.5, True, None, [1, [2]], {"a": {"b": []}}]
)
def test_json_values_are_kept(cache: BaseCache, value: Any) -> None:
    cache.set("key", value, 60)
    assert cache.get("key", "missing") == value
    assert type(cache.get("key")) is type(value)


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, float("nan"), lambda: None])
def test_other_values_are_refused(cache: BaseCache, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        cache.set("key", value, 60)
    assert cache.get("key") is None


@pytest.mark.parametrize("content", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_json_is_missing_and_removed(cache: BaseCache, content: bytes) -> None:
    plant(cache, "key", content)
    assert cache.get("key", "missing") == "missing"
    assert cache.add("key", "new", 60)
    assert cache.get_many(["key", "other"]) == {"key": "new"}


def test_an_entry_is_added_once_until_it_expires(cache: BaseCache, clock: Clock) -> None:
    assert cache.add("key", 1, 30)
    assert not cache.add("key", 2, 30)
    assert cache.incr("key", 4) == 5
    if isinstance(cache, DatabaseCache):  # Redis has its own clock.
        cache.touch("key", 30)
        clock.forward(seconds=31)
        assert cache.get("key") is None
        assert not cache.touch("key")
        assert cache.add("key", 3, 30)
        assert cache.get("key") == 3


def test_what_is_not_a_number_is_not_counted(cache: BaseCache) -> None:
    cache.set("key", "text", 60)
    with pytest.raises((TypeError, ValueError)):
        cache.incr("key")
    with pytest.raises(ValueError, match="not found"):
        cache.incr("missing")
    assert cache.get("key") == "text"


@pytest.mark.parametrize(
    "backend", ["filebased.FileBasedCache", "memcached.PyMemcacheCache", "db.Unknown"]
)
def test_caches_that_store_pickles_are_refused(backend: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="pickles"):
        configured({"BACKEND": f"django.core.cache.backends.{backend}"})
