"""Launches are made a few at a time, and whoever asks for many does not hold up the others."""

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
    """Nothing here reaches an engine."""


@pytest.fixture
def carol(django_user_model: type[User]) -> User:
    return django_user_model.objects.create_user("carol", "carol@example.com")


def order(at_most: int = 100) -> list[str]:
    """Whose turn it is, one after the other, until no more are made at once."""
    turns_taken = []
    while row := launch_queue.claim_next_launch(at_most):
        turns_taken.append(row.owner.username)
    return turns_taken


def test_who_asks_for_many_does_not_hold_up_who_asks_for_one(alice, bob, carol):
    for user in (alice, alice, alice, bob, bob, carol):
        request(user)

    assert order() == ["alice", "bob", "carol", "alice", "bob", "alice"]


def test_of_one_owner_the_oldest_comes_first(alice):
    rows = [request(alice) for _ in range(3)]

    assert [launch_queue.claim_next_launch(9).pk for _ in rows] == [row.pk for row in rows]


def test_no_more_are_made_at_once_than_is_good(alice, bob):
    for user in (alice, bob, alice):
        request(user)
    assert order(at_most=2) == ["alice", "bob"]

    lifecycle.mark_ready(bob.sandboxes.get(), {}, 0)
    assert order(at_most=2) == ["alice"]


def test_one_whose_worker_died_leaves_its_turn_to_others(alice, bob, clock):
    died = request(alice)
    assert launch_queue.claim_next_launch(1).pk == died.pk
    request(bob)
    assert launch_queue.claim_next_launch(1) is None

    clock.forward(seconds=leases.LEASE_DURATION.total_seconds())

    assert launch_queue.claim_next_launch(1).pk == died.pk, "it waits the longest"
    assert reload(died).lease_token == 2


def test_a_worker_goes_on_until_nothing_waits(alice, bob):
    rows = [request(user) for user in (alice, alice, bob)]
    worker_tasks.provision(rows[0].public_id)

    assert {reload(row).state for row in rows} == {State.RUNNING}


def test_what_ended_while_it_waited_takes_no_turn(alice):
    row = request(alice)
    lifecycle.begin_destroy(row, "user", "Changed my mind.")

    assert launch_queue.claim_next_launch(9) is None
    provisioning.process_queue()
    assert Sandbox.objects.get().state == State.DESTROYING
