"""Launches run a few at a time, and an owner with many of them doesn't delay others."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from sandboxes.core import launch_queue, leases, lifecycle
from sandboxes.models import Sandbox, State
from sandboxes.worker import provisioning
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import reload, request

pytestmark = [pytest.mark.django_db, pytest.mark.store]


@pytest.fixture(autouse=True)
def _fake(runtime):
    """Use the fake runtime."""


@pytest.fixture
def carol(django_user_model: type[User]) -> User:
    return django_user_model.objects.create_user("carol", "carol@example.com")


def order(at_most: int = 100) -> list[str]:
    """Return the order in which launches are claimed, until the limit is reached."""
    turns_taken = []
    while row := launch_queue.claim_next_launch(at_most):
        turns_taken.append(row.owner.username)
    return turns_taken


def test_an_owner_with_many_launches_does_not_delay_an_owner_with_one(alice, bob, carol):
    for user in (alice, alice, alice, bob, bob, carol):
        request(user)

    assert order() == ["alice", "bob", "carol", "alice", "bob", "alice"]


def test_the_launches_of_an_owner_run_in_order(alice):
    rows = [request(alice) for _ in range(3)]

    assert [launch_queue.claim_next_launch(9).pk for _ in rows] == [row.pk for row in rows]


def test_concurrent_launches_are_limited(alice, bob):
    for user in (alice, bob, alice):
        request(user)
    assert order(at_most=2) == ["alice", "bob"]

    lifecycle.mark_ready(bob.sandboxes.get(), {}, 0)
    assert order(at_most=2) == ["alice"]


def test_a_launch_whose_worker_died_does_not_block_others(alice, bob, clock):
    died = request(alice)
    assert launch_queue.claim_next_launch(1).pk == died.pk
    request(bob)
    assert launch_queue.claim_next_launch(1) is None

    clock.forward(seconds=leases.LEASE_DURATION.total_seconds())

    assert launch_queue.claim_next_launch(1).pk == died.pk, "it waits the longest"
    assert reload(died).lease_token == 2


def test_a_worker_continues_until_the_queue_is_empty(alice, bob):
    rows = [request(user) for user in (alice, alice, bob)]
    worker_tasks.provision(rows[0].public_id)

    assert {reload(row).state for row in rows} == {State.RUNNING}


def test_a_launch_cancelled_in_the_queue_is_skipped(alice):
    row = request(alice)
    lifecycle.begin_destroy(row, "user", "Changed my mind.")

    assert launch_queue.claim_next_launch(9) is None
    provisioning.process_queue()
    assert Sandbox.objects.get().state == State.DESTROYING
