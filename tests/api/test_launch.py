"""Launching through the API: options, rejections, and when to retry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandboxes.core import limits
from sandboxes.lib import clock
from sandboxes.models import LimitOverride, Maintenance, Sandbox
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("runtime"),
]


@pytest.fixture
def program(alice: User) -> ApiClient:
    return ApiClient(alice)


def test_a_launch_returns_the_sandbox_and_its_location(program: ApiClient) -> None:
    answer = program.post("/sandboxes", {"ttl_minutes": 30, "name": "mine"}, Prefer="wait=10")
    sandbox = answer.json()
    assert answer.status_code == 201
    assert answer["Location"] == f"http://testserver/api/v1/sandboxes/{sandbox['id']}"
    assert answer["Preference-Applied"] == "wait=10"
    assert (sandbox["state"], sandbox["name"]) == ("running", "mine")
    lifetime = datetime.fromisoformat(sandbox["expires_at"]) - datetime.fromisoformat(
        sandbox["started_at"]
    )
    assert lifetime == timedelta(minutes=30)


@pytest.mark.parametrize("body", [None, {}, {"name": None, "ttl_minutes": None, "blueprint": None}])
def test_omitted_options_have_defaults(program: ApiClient, body: Any) -> None:
    answer = program.post("/sandboxes", body)
    assert answer.status_code == 201
    assert answer.json()["blueprint"] == "billing"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ttl_minutes": 14}, "ttl_minutes"),
        ({"ttl_minutes": 121}, "ttl_minutes"),
        ({"ttl_minutes": -(10**30)}, "ttl_minutes"),
        ({"ttl_minutes": "60"}, "ttl_minutes"),
        ({"ttl_minutes": 60.5}, "ttl_minutes"),
        ({"ttl_minutes": True}, "ttl_minutes"),
        ({"name": "x" * 61}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": 7}, "name"),
        ({"blueprint": "nothing"}, "blueprint"),
        ({"blueprint": "../billing"}, "blueprint"),
        ({"ttl": 60}, "ttl"),
        ([], "body"),
        ("text", "body"),
    ],
)
def test_invalid_input_names_the_field_and_launches_nothing(
    program: ApiClient, body: Any, field: str
) -> None:
    problem = assert_problem(program.post("/sandboxes", body), 422, field)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["errors"][0]["message"]
    assert not Sandbox.objects.exists()


def test_all_invalid_fields_are_reported_together(program: ApiClient) -> None:
    problem = assert_problem(program.post("/sandboxes", {"name": 1, "ttl_minutes": "x"}), 422)
    assert {error["field"] for error in problem["errors"]} == {"name", "ttl_minutes"}


def test_a_malformed_body_is_rejected(program: ApiClient) -> None:
    answer = program.client.post("/api/v1/sandboxes", "{", "application/json")
    assert_problem(answer, 400, "JSON")


def test_an_oversized_body_is_rejected(program: ApiClient, settings: SettingsWrapper) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert_problem(program.post("/sandboxes", {"name": "x" * 200}), 413)


def test_the_fourth_sandbox_is_rejected_with_the_next_free_slot(
    program: ApiClient, clock: Clock
) -> None:
    first = program.launch(ttl_minutes=20)
    for _ in range(2):
        program.launch(ttl_minutes=120)
    clock.forward(minutes=5)
    refused = program.post("/sandboxes")
    problem = assert_problem(refused, 429, "limit of 3 sandboxes")
    assert problem["type"].endswith("#quota-exceeded")
    assert (problem["limit"], problem["active"], problem["frees_first"]) == (3, 3, first["id"])
    assert problem["estimated_wait_seconds"] == 15 * 60
    assert problem["retry_at"] == first["ends_at"]
    assert refused["Retry-After"] == str(15 * 60)
    assert refused["RateLimit-Policy"] == '"sandboxes-of-user";q=3'
    assert refused["RateLimit"] == '"sandboxes-of-user";r=0;t=900'
    assert program.delete(f"/sandboxes/{first['id']}").status_code == 202
    program.launch()


def test_retrying_at_the_announced_time_succeeds(
    alice: User, clock: Clock, runtime: MemoryRuntime, settings: SettingsWrapper
) -> None:
    from sandboxes.reaper.sweep import Sweep

    settings.SANDBOX_MAX_PER_USER = 1
    program = ApiClient(alice)
    program.launch(ttl_minutes=20)
    wait = int(program.post("/sandboxes")["Retry-After"])
    clock.forward(seconds=wait)
    assert Sweep().run().errors == []
    program.launch()


def test_a_full_site_is_reported_without_other_users_sandboxes(
    program: ApiClient, bob: User, settings: SettingsWrapper
) -> None:
    settings.SANDBOX_MAX_SITE = 1
    theirs = ApiClient(bob).launch()
    refused = program.post("/sandboxes")
    problem = assert_problem(refused, 429, "at capacity")
    assert problem["frees_first"] is None
    assert theirs["id"] not in refused.content.decode()


def test_a_limit_override_allows_more_sandboxes(program: ApiClient, alice: User) -> None:
    LimitOverride.objects.create(user=alice, max_active=4, ttl_max_minutes=200, reason="a workshop")
    for _ in range(4):
        program.launch(ttl_minutes=200)
    assert assert_problem(program.post("/sandboxes"), 429)["limit"] == 4


def test_a_launch_during_maintenance_says_when_to_retry(program: ApiClient, clock: Clock) -> None:
    over = datetime.now(UTC) + timedelta(minutes=30)
    Maintenance.objects.create(until=over, message="We move house.")
    refused = program.post("/sandboxes")
    assert_problem(refused, 503, "We move house.", "30")
    assert refused["Retry-After"] == str(30 * 60)
    limits = program.get("/limits").json()
    assert (limits["can_launch"], limits["estimated_wait_seconds"]) == (False, 30 * 60)
    clock.forward(minutes=30)
    program.launch()


def test_a_failed_launch_is_returned_with_its_reason(
    program: ApiClient, runtime: MemoryRuntime
) -> None:
    runtime.fail_startup("db", 1, "no space left for the cluster")
    answer = program.post("/sandboxes", Prefer="wait=5")
    failed = program.look(answer.json())
    assert answer.status_code == 201
    assert (failed["state"], failed["end_reason"]) == ("failed", "provision_failed")
    assert failed["failure"]["service"] == "db"
    assert failed["failure"]["exit_code"] == 1
    assert "no space left" in failed["failure"]["log_tail"]
    assert "db" in failed["end_message"]
    assert program.get("/limits").json()["active"] == 0


def test_limits_show_usage_and_the_next_free_slot(program: ApiClient, clock: Clock) -> None:
    fresh = program.get("/limits").json()
    assert (fresh["limit"], fresh["active"], fresh["can_launch"]) == (3, 0, True)
    assert fresh["ttl_minutes"] == {"default": 60, "min": 15, "max": 120}
    assert fresh["estimated_wait_seconds"] == 0
    sandboxes = [program.launch(ttl_minutes=minutes) for minutes in (120, 25, 120)]
    full = program.get("/limits").json()
    assert (full["active"], full["can_launch"]) == (3, False)
    assert full["estimated_wait_seconds"] == 25 * 60
    assert full["frees_first"] == sandboxes[1]["id"]
    assert "limit of 3 sandboxes" in full["reason"]


def test_the_wait_estimate_of_a_full_site_includes_ending_sandboxes(
    alice: User, settings: SettingsWrapper, runtime: MemoryRuntime
) -> None:
    settings.SANDBOX_MAX_SITE = 1
    program = ApiClient(alice)
    sandbox = program.launch()
    runtime.unreachable = True
    assert program.delete(f"/sandboxes/{sandbox['id']}").status_code == 202
    refusal = limits.quota_blocker(alice)
    assert refusal and refusal.scope == "site"
    assert refusal.retry_at - clock.now() <= limits.REMOVAL_DURATION + timedelta(seconds=1)


def test_blueprints_show_the_limits_of_the_user_for_each(program: ApiClient, alice: User) -> None:
    LimitOverride.objects.create(user=alice, max_active=7, idle_minutes=9, reason="workshop")
    (billing,) = program.get("/blueprints").json()["data"]
    assert billing["limits"] == {
        "memory_mb": 512,
        "cpus": 1.0,
        "disk_mb": 2048,
        "ttl_minutes": {"default": 60, "min": 15, "max": 120},
        "hard_cap_minutes": 240,
        "idle_minutes": 9,
        "active_per_user": 7,
    }


def test_blueprints_show_which_can_be_launched(program: ApiClient) -> None:
    (billing,) = program.get("/blueprints").json()["data"]
    assert billing["name"] == "billing"
    assert billing["default"] is True
    assert billing["title"] and billing["description"]
    assert billing["seed"] == {"plans": 5, "subscribers": 10, "invoices": 20} | billing["seed"]
