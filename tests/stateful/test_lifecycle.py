"""Whatever happens to sandboxes in whatever order: what must hold does."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests import fuzz
from tests.stateful.lifecycle import PLACES, Lifecycle

pytestmark = pytest.mark.store


@pytest.fixture
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.django_db
@pytest.mark.usefixtures("alice", "bob", "olga", "_quiet")
def test_in_every_order_what_must_hold_does(settings) -> None:
    settings.SANDBOX_MAX_SITE, settings.SANDBOX_POOL_SIZE = PLACES, 1
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
