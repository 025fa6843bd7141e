"""Reading and changing sandboxes through the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command

from sandboxes.models import Sandbox, State
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("runtime")]

CONTRACT = {
    "id", "name", "blueprint", "state", "steps", "created_at", "started_at", "expires_at",
    "idle_expires_at", "hard_cap_at", "ends_at", "ends_because", "ended_at", "end_reason",
    "extension", "endpoints", "stellar", "limits",
}  # fmt: skip
ADDED = {
    "summary",
    "problem",
    "end_message",
    "failure",
    "reset_pending",
    "eta_seconds",
    "advice",
    "peak",
    "parameters",
    "metadata",
    "heartbeat_seconds",
    "heartbeat_expires_at",
    "unreachable_since",
    "launched_from",
}


@pytest.fixture
def program(alice: User) -> ApiClient:
    return ApiClient(alice)


@pytest.fixture
def running(program: ApiClient) -> dict[str, Any]:
    sandbox = program.launch(ttl_minutes=60)
    assert sandbox["state"] == "running"
    return sandbox


def path(sandbox: dict[str, Any], tail: str = "") -> str:
    return f"/sandboxes/{sandbox['id']}{tail}"


def event_kinds(program: ApiClient, sandbox: dict[str, Any]) -> list[str]:
    return [event["kind"] for event in program.get(path(sandbox, "/events")).json()["data"]]


def test_a_running_sandbox_is_returned_in_full(program: ApiClient, running: dict[str, Any]) -> None:
    found = program.look(running)
    assert found.keys() == CONTRACT | ADDED
    assert found["id"].startswith("sbx_")
    assert found["extension"] == {"used": False, "max_minutes": 120}
    assert found["limits"] == {"memory_mb": 512, "cpus": 1.0, "disk_mb": 2048}
    assert found["stellar"].keys() == {"public_key", "funding"}
    assert [step["state"] for step in found["steps"]] == ["done"] * 3
    assert (found["ends_at"], found["ends_because"]) == (found["idle_expires_at"], "idle")


def test_endpoints_are_valid_urls(running: dict[str, Any]) -> None:
    endpoints = running["endpoints"]
    assert endpoints.keys() == {"api", "database", "docs"}
    assert endpoints["api"].startswith("http://127.0.0.1:")
    assert endpoints["docs"].startswith(endpoints["api"])
    assert endpoints["database"].startswith("postgresql://")


def test_times_are_rfc_3339_in_utc(running: dict[str, Any]) -> None:
    times = [value for name, value in running.items() if name.endswith("_at") and value]
    times += [step["started_at"] for step in running["steps"]]
    assert len(times) == 9
    assert all(time.endswith("Z") and time[10] == "T" for time in times)


@pytest.mark.django_db
def test_a_pending_sandbox_lists_the_steps_to_come(
    alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    program = ApiClient(alice)
    with django_capture_on_commit_callbacks():  # No worker has processed it yet.
        sandbox = program.launch()
    assert sandbox["state"] == "pending"
    assert [step["state"] for step in sandbox["steps"]] == ["waiting"] * 3
    assert sandbox["endpoints"] == {"api": None, "database": None, "docs": None}
    assert sandbox["extension"] == {"used": False, "max_minutes": 0}
    clocks = ("started_at", "expires_at", "idle_expires_at", "hard_cap_at", "ends_at")
    assert [sandbox[name] for name in clocks] == [None] * 5
    assert_problem(program.get(path(sandbox, "/credentials")), 409, "pending")
    assert_problem(program.get(path(sandbox, "/logs?service=db")), 409)


def test_an_ended_sandbox_has_a_reason_and_no_endpoints(
    program: ApiClient, running: dict[str, Any]
) -> None:
    program.delete(path(running))
    ended = program.look(running)
    assert (ended["state"], ended["end_reason"]) == ("destroyed", "user")
    assert ended["ended_at"] and ended["end_message"]
    assert ended["failure"] is None
    assert set(ended["endpoints"].values()) == {None}
    assert "Destroyed by its owner" in ended["summary"]
    assert Sandbox.objects.get(public_id=running["id"]).secrets == {}


def test_credentials_are_returned_and_each_view_is_journaled(
    program: ApiClient, running: dict[str, Any]
) -> None:
    answer = program.get(path(running, "/credentials"))
    keys = answer.json()
    assert answer["Cache-Control"] == "no-store"
    assert keys.keys() == {"api_key", "database_url", "stellar_secret"}
    assert keys["api_key"].startswith("sk_test_")
    assert keys["stellar_secret"].startswith("S")
    assert keys["database_url"].startswith("postgresql://")
    assert event_kinds(program, running).count("credentials_read") == 1
    for secret in (keys["api_key"], keys["stellar_secret"]):
        assert secret not in str(program.look(running))
        assert secret not in str(program.get(path(running, "/events")).json())


def test_a_sandbox_can_be_extended_once(program: ApiClient, running: dict[str, Any]) -> None:
    answer = program.post(path(running, "/extensions"), {"minutes": 60})
    granted = answer.json()
    assert answer.status_code == 201
    assert granted["minutes"] == 60
    assert granted["expires_before"] == running["expires_at"]
    assert granted["sandbox"]["expires_at"] == granted["expires_at"] > running["expires_at"]
    assert granted["sandbox"]["extension"] == {"used": True, "max_minutes": 0}
    assert_problem(program.post(path(running, "/extensions"), {"minutes": 60}), 409, "once")
    assert program.look(running)["expires_at"] == granted["expires_at"]


@pytest.mark.parametrize("minutes", [0, -5, 121, 10**30, "60", 1.5, None, True])
def test_an_extension_out_of_bounds_is_rejected(
    program: ApiClient, running: dict[str, Any], minutes: Any
) -> None:
    answer = program.post(path(running, "/extensions"), {"minutes": minutes})
    assert assert_problem(answer, 422, "minutes")["errors"][0]["field"] == "minutes"
    assert program.look(running)["expires_at"] == running["expires_at"]


def test_an_extension_requires_minutes(program: ApiClient, running: dict[str, Any]) -> None:
    for body in ({}, None):
        answer = program.post(path(running, "/extensions"), body)
        assert assert_problem(answer, 422)["errors"]


def test_the_extension_quote_matches_the_extension_near_the_cap(
    program: ApiClient, settings: Any
) -> None:
    settings.SANDBOX_HARD_CAP_MINUTES = 150
    sandbox = program.launch(ttl_minutes=120)
    assert sandbox["extension"]["max_minutes"] == 30
    granted = program.post(path(sandbox, "/extensions"), {"minutes": 120}).json()
    assert granted["minutes"] == 30
    found = granted["sandbox"]
    assert found["expires_at"] == found["hard_cap_at"]


def test_a_sandbox_at_the_cap_cannot_be_extended(program: ApiClient, settings: Any) -> None:
    settings.SANDBOX_HARD_CAP_MINUTES = 120
    sandbox = program.launch(ttl_minutes=120)
    assert sandbox["extension"] == {"used": False, "max_minutes": 0}
    assert_problem(program.post(path(sandbox, "/extensions"), {"minutes": 1}), 409, "maximum")


def test_a_touch_resets_the_idle_timer(
    program: ApiClient, running: dict[str, Any], clock: Clock
) -> None:
    clock.forward(minutes=10)
    answer = program.post(path(running, "/touch"))
    assert answer.status_code == 200
    assert answer.json()["idle_expires_at"] > running["idle_expires_at"]
    assert answer.json()["expires_at"] == running["expires_at"]


def test_a_sandbox_ends_with_its_client(program: ApiClient, clock: Clock) -> None:
    sandbox = program.launch(heartbeat_seconds=60)
    for _ in range(3):
        clock.forward(seconds=50)
        answer = program.post(path(sandbox, "/heartbeat"))
        assert answer.status_code == 200
        call_command("reap_sandboxes")
    found = program.look(sandbox)
    assert found["state"] == "running"
    assert found["heartbeat_expires_at"] == answer.json()["heartbeat_expires_at"]
    assert found["idle_expires_at"] == sandbox["idle_expires_at"]

    clock.forward(seconds=60)
    call_command("reap_sandboxes")
    ended = program.look(sandbox)
    assert (ended["state"], ended["end_reason"]) == ("destroyed", "heartbeat")
    assert ended["end_message"] == "Its client sent no heartbeat for 60 seconds."
    assert_problem(program.post(path(sandbox, "/heartbeat")), 409, "destroyed")


def test_heartbeats_have_bounds_and_must_be_chosen_at_launch(
    program: ApiClient, running: dict[str, Any]
) -> None:
    for seconds in (29, 3601):
        answer = program.post("/sandboxes", {"heartbeat_seconds": seconds})
        assert_problem(answer, 422, "heartbeat_seconds", "from 30 to 3600 seconds")
    assert_problem(program.post(path(running, "/heartbeat")), 409, "without heartbeat_seconds")


def test_connections_tell_how_to_use_a_sandbox(program: ApiClient, running: dict[str, Any]) -> None:
    answer = program.get(path(running, "/connections"))
    assert answer["Cache-Control"] == "no-store"
    found = answer.json()
    keys = program.get(path(running, "/credentials")).json()
    assert found["apis"]["api"] == {
        "url": running["endpoints"]["api"],
        "headers": {"Authorization": f"Bearer {keys['api_key']}"},
        "portal_token_header": None,
    }
    assert found["default_api"] == "api"
    assert found["databases"] == {"database_url": keys["database_url"]}
    assert found["variables"]["API_KEY"] == keys["api_key"]
    assert found["variables"]["API_URL"] == running["endpoints"]["api"].rstrip("/")
    assert event_kinds(program, running).count("credentials_read") == 2


def test_reading_a_sandbox_is_not_activity(
    program: ApiClient, running: dict[str, Any], clock: Clock
) -> None:
    clock.forward(minutes=10)
    for tail in ("", "/events", "/usage", "/credentials", "/logs?service=db"):
        assert program.get(path(running, tail)).status_code == 200
    assert program.look(running)["idle_expires_at"] == running["idle_expires_at"]


def test_a_reset_restores_the_seed_data_only(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    keys = program.get(path(running, "/credentials")).json()
    answer = program.post(path(running, "/reset"))
    assert answer.status_code == 202
    assert len(runtime.executed) == 1
    after = program.look(running)
    assert after["reset_pending"] is False
    assert after["endpoints"] == running["endpoints"]
    assert program.get(path(running, "/credentials")).json() == keys
    assert "reset" in event_kinds(program, running)


def test_an_unfinished_reset_is_shown_as_pending(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    runtime.unreachable = True
    for _ in range(2):
        answer = program.post(path(running, "/reset"))
        assert answer.status_code == 202
        assert answer.json()["reset_pending"] is True
    assert event_kinds(program, running).count("reset_requested") == 1


def test_destroying_can_be_repeated(program: ApiClient, running: dict[str, Any]) -> None:
    assert program.delete(path(running)).status_code == 202
    again = program.delete(path(running))
    assert again.status_code == 200
    assert again.json()["state"] == "destroyed"
    assert event_kinds(program, running).count("ending") == 1


def test_destroying_succeeds_while_the_engine_is_unreachable(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    runtime.unreachable = True
    for _ in range(2):
        answer = program.delete(path(running))
        assert answer.status_code == 202
        assert answer.json()["state"] == "destroying"
    assert program.get("/limits").json()["active"] == 0


def test_an_ended_sandbox_can_only_be_read(program: ApiClient, running: dict[str, Any]) -> None:
    program.delete(path(running))
    assert_problem(program.get(path(running, "/credentials")), 409, "destroyed")
    assert_problem(program.post(path(running, "/extensions"), {"minutes": 5}), 409, "destroyed")
    assert_problem(program.post(path(running, "/touch")), 409, "destroyed")
    assert_problem(program.post(path(running, "/reset")), 409, "destroyed")
    for tail in ("", "/events", "/usage", "/logs"):
        assert program.get(path(running, tail)).status_code == 200


def test_a_sandbox_of_a_removed_blueprint_can_still_be_read(
    program: ApiClient, running: dict[str, Any]
) -> None:
    Sandbox.objects.update(blueprint="withdrawn")
    assert program.look(running)["endpoints"] == {"api": None, "database": None, "docs": None}
    assert_problem(program.get(path(running, "/credentials")), 503)
    assert Sandbox.objects.get().state == State.RUNNING
