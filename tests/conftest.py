"""Fixtures of all tests: the users alice, bob and the operator olga, a fake runtime, a clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import time_machine
from django.core.cache import cache
from django.utils import timezone

from sandboxes.accounts import account_mails
from sandboxes.models.runtime_settings import config
from sandboxes.runtime import forget_runtimes, get_runtime

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

# The order matters: plugins come after those that they use.
pytest_plugins = [
    "tests.harness.garbage",
    "tests.harness.hypothesis_profiles",
    "tests.harness.http_clients",
    "tests.harness.databases",
    "tests.harness.runtimes",
    "tests.harness.engines",
    "tests.harness.remote_engines",
    "tests.harness.portal",
    "tests.harness.queue",
    "tests.harness.stores",
    "tests.harness.selection",
    "tests.harness.scheduling",
    "tests.helpers.web",
    "tests.helpers.admin",
    "tests.harness.optional_tools",
    "tests.fakes.friendbot",
    "tests.fakes.horizon",
    "tests.fakes.oauth_provider",
    "tests.fakes.webhook_receiver",
    "tests.fakes.sandbox_api",
]

PASSWORD = "correct horse battery staple"


@pytest.fixture
def alice(django_user_model: type[User]) -> User:
    return django_user_model.objects.create_user("alice", "alice@example.com", PASSWORD)


@pytest.fixture
def bob(django_user_model: type[User]) -> User:
    return django_user_model.objects.create_user("bob", "bob@example.com", PASSWORD)


@pytest.fixture
def olga(django_user_model: type[User]) -> User:
    return django_user_model.objects.create_superuser("olga", "olga@example.com", PASSWORD)


@pytest.fixture
def runtime() -> Iterator[MemoryRuntime]:
    """Return a new fake runtime, which tests control."""
    forget_runtimes()
    yield get_runtime()  # type: ignore[misc]
    forget_runtimes()


@pytest.fixture(autouse=True)
def _reset_caches() -> Iterator[None]:
    """Clear runtime settings and rate limits after each test."""
    yield
    config.reset_cache()
    account_mails.breaker.record_success()
    cache.clear()


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self, traveller: time_machine.Coordinates) -> None:
        self.traveller = traveller

    def forward(self, **delta: float) -> None:
        self.traveller.shift(timedelta(**delta))


@pytest.fixture
def clock() -> Iterator[Clock]:
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield Clock(traveller)
