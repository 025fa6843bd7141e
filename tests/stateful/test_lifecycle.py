"""Invariants of sandboxes hold after any sequence of operations, faults and clock changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests import fuzz
from tests.stateful.lifecycle import SITE_LIMIT, Lifecycle

pytestmark = [pytest.mark.store, pytest.mark.slow]


@pytest.fixture
def _without_logging() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.django_db
@pytest.mark.usefixtures("alice", "bob", "olga", "_without_logging")
def test_invariants_hold_after_any_sequence_of_operations(settings) -> None:
    settings.SANDBOX_MAX_SITE, settings.SANDBOX_POOL_SIZE = SITE_LIMIT, 1
    run_state_machine_as_test(Lifecycle, settings=PROFILE)


PROFILE = settings(
    max_examples=fuzz.LIFECYCLES or settings.default.max_examples,
    stateful_step_count=30,
    derandomize=not fuzz.LIFECYCLES and settings.default.derandomize,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
