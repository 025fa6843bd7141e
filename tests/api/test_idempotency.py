"""Launches with an `Idempotency-Key` and with `Prefer: wait`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandboxes.api.launch import parse_prefer_wait
from sandboxes.models import Sandbox
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from kombu import Connection

    from tests.conftest import Clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("runtime"),
    pytest.mark.store,
]


@pytest.fixture
def program(alice: User) -> ApiClient:
    return ApiClient(alice)


def test_one_key_launches_one_sandbox(program: ApiClient) -> None:
    first = program.post("/sandboxes", {"name": "a"}, Idempotency_Key="k")
    again = program.post("/sandboxes", {"name": "a"}, Idempotency_Key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert again["Location"] == first["Location"]
    assert Sandbox.objects.count() == 1


def test_a_repeated_launch_is_replayed_when_no_slot_is_free(program: ApiClient) -> None:
    launched = [
        program.post("/sandboxes", Idempotency_Key=str(number)).json()["id"] for number in range(3)
    ]
    assert program.post("/sandboxes", Idempotency_Key="2").json()["id"] == launched[2]


def test_a_key_with_a_different_request_is_rejected(program: ApiClient) -> None:
    program.post("/sandboxes", {"name": "a"}, Idempotency_Key="k")
    problem = assert_problem(
        program.post("/sandboxes", {"name": "b"}, Idempotency_Key="k"), 422, "different request"
    )
    assert problem["errors"][0]["field"] == "Idempotency-Key"


def test_keys_of_different_users_are_independent(program: ApiClient, bob: User) -> None:
    mine = program.post("/sandboxes", Idempotency_Key="k").json()["id"]
    theirs = ApiClient(bob).post("/sandboxes", Idempotency_Key="k").json()["id"]
    assert mine != theirs


def test_a_key_expires_after_24_hours(program: ApiClient, clock: Clock) -> None:
    first = program.post("/sandboxes", Idempotency_Key="k").json()["id"]
    clock.forward(hours=24, seconds=1)
    assert program.post("/sandboxes", Idempotency_Key="k").json()["id"] != first


def test_a_rejected_launch_does_not_use_up_its_key(program: ApiClient) -> None:
    assert_problem(program.post("/sandboxes", {"ttl_minutes": 1}, Idempotency_Key="k"), 422)
    assert program.post("/sandboxes", {"ttl_minutes": 60}, Idempotency_Key="k").status_code == 201


def test_a_key_that_is_too_long_is_rejected(program: ApiClient) -> None:
    problem = assert_problem(program.post("/sandboxes", Idempotency_Key="k" * 256), 422)
    assert problem["errors"][0]["field"] == "Idempotency-Key"


def test_waiting_ends_after_the_preferred_time(
    program: ApiClient, queued_tasks: Connection
) -> None:
    answer = program.post("/sandboxes", {}, Prefer="wait=1")
    assert answer.status_code == 201
    assert answer.json()["state"] == "pending"
    assert answer["Preference-Applied"] == "wait=1"


def test_without_the_preference_the_response_is_immediate(
    program: ApiClient, queued_tasks: Connection
) -> None:
    answer = program.post("/sandboxes", {}, Prefer="respond-async")
    assert answer.json()["state"] == "pending"
    assert "Preference-Applied" not in answer


@pytest.mark.parametrize(
    ("preference", "seconds"),
    [("wait=30", 30), ("Wait=5", 5), ("respond-async, wait=7", 7), ('wait="9"; x=1', 9),
     ("wait=600", 60), ("wait=999999", 60), ("wait=0", 0), ("", 0), ("wait", 0), ("wait=", 0),
     ("wait=soon", 0), ("wait=-1", 0), ("await=5", 0), ("wait=5s", 0)],
)  # fmt: skip
def test_a_wait_preference_is_capped_at_a_minute_and_ignored_if_invalid(
    preference: str, seconds: int
) -> None:
    assert parse_prefer_wait(preference) == seconds
