"""Invoices, payments, credits and refunds agree after random operations."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.billing.harness import ApiClient
from tests.billing.money import contradictions, operate

pytestmark = pytest.mark.postgres


@given(chance=st.randoms(use_true_random=False))
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_money_agrees_after_random_operations(
    api: ApiClient, db: psycopg.Connection, chance: random.Random
) -> None:
    statuses = {operate(api, chance) for _ in range(30)}
    assert 500 not in statuses
    assert contradictions(db) == {}


def test_money_agrees_after_concurrent_operations(api: ApiClient, db: psycopg.Connection) -> None:
    def run(seed: int) -> set[int]:
        chance = random.Random(seed)
        with ApiClient(str(api.base_url)) as client:
            return {operate(client, chance) for _ in range(15)}

    with ThreadPoolExecutor(6) as pool:
        statuses = set().union(*pool.map(run, range(6)))
    assert 500 not in statuses
    assert contradictions(db) == {}
