"""Parallel requests in real threads: limits are exact, and a key launches one sandbox."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User

from sandboxes.actions import logs
from sandboxes.api import launch as api_launch
from sandboxes.lib.concurrency import ConcurrencyLimit
from sandboxes.models import Event, Sandbox, State
from tests.harness.databases import run_in_threads
from tests.helpers.api_client import ApiClient

if TYPE_CHECKING:
    from kombu import Connection
    from pytest_django.fixtures import SettingsWrapper

pytestmark = [
    pytest.mark.usefixtures("shared_database", "queued_tasks", "runtime"),
    pytest.mark.store,
]


def create_developer(name: str) -> User:
    return User.objects.create_user(name, f"{name}@example.com")


def test_50_parallel_launches_of_a_user_reach_exactly_the_limit() -> None:
    program = ApiClient(create_developer("alice"))
    answers = run_in_threads(
        50, lambda number: program.post("/sandboxes", {"name": f"no {number}"})
    )
    assert Counter(answer.status_code for answer in answers) == {201: 3, 429: 47}
    assert sorted(Sandbox.objects.values_list("slot", flat=True)) == [1, 2, 3]
    refusals = [answer.json() for answer in answers if answer.status_code == 429]
    assert {(refusal["limit"], refusal["active"]) for refusal in refusals} == {(3, 3)}
    assert all(int(answer["Retry-After"]) > 0 for answer in answers if answer.status_code == 429)


def test_50_parallel_launches_of_many_users_reach_exactly_the_site_limit(
    settings: SettingsWrapper,
) -> None:
    settings.SANDBOX_MAX_SITE = 7
    programs = [ApiClient(create_developer(f"create_developer{number}")) for number in range(25)]
    answers = run_in_threads(50, lambda number: programs[number % 25].post("/sandboxes"))
    assert Counter(answer.status_code for answer in answers) == {201: 7, 429: 43}
    assert Sandbox.objects.count() == 7


def test_20_parallel_launches_with_one_key_create_one_sandbox() -> None:
    program = ApiClient(create_developer("alice"))

    def launch(_: int) -> Any:
        return program.post("/sandboxes", {"name": "one"}, Idempotency_Key="the-key")

    answers = run_in_threads(20, launch)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in answers) == 1
    assert Sandbox.objects.count() == 1


def test_20_parallel_extensions_are_granted_once(queued_tasks: Connection) -> None:
    from sandboxes.worker import provisioning

    program = ApiClient(create_developer("alice"))
    sandbox = program.launch()
    provisioning.provision(Sandbox.objects.get())
    path = f"/sandboxes/{sandbox['id']}/extensions"
    answers = run_in_threads(20, lambda _: program.post(path, {"minutes": 30}))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}


def test_20_parallel_deletions_all_succeed_and_are_journaled_once() -> None:
    program = ApiClient(create_developer("alice"))
    sandbox = program.launch()
    answers = run_in_threads(20, lambda _: program.delete(f"/sandboxes/{sandbox['id']}"))
    assert {answer.status_code for answer in answers} == {202}
    assert Event.objects.filter(kind="ending").count() == 1


def test_waiting_ends_as_soon_as_the_sandbox_runs() -> None:
    from sandboxes.worker import provisioning

    program = ApiClient(create_developer("alice"))

    def request_or_work(number: int) -> Any:
        if number == 0:
            return program.post("/sandboxes", {}, Prefer="respond-async, wait=60")
        while not (waiting := Sandbox.objects.filter(state=State.PENDING).first()):
            pass
        return provisioning.provision(waiting)

    answer = run_in_threads(2, request_or_work)[0]
    assert answer.status_code == 201
    assert answer.json()["state"] == "running"
    assert answer["Preference-Applied"] == "wait=60"


@pytest.mark.parametrize(("total", "per_user", "waiting"), [(3, 9, 3), (9, 2, 2)])
def test_launches_beyond_the_limit_of_waits_are_answered_at_once(
    monkeypatch: pytest.MonkeyPatch, total: int, per_user: int, waiting: int
) -> None:
    monkeypatch.setattr(api_launch, "concurrent_waits", ConcurrencyLimit(total, per_user))
    program = ApiClient(create_developer("alice"))

    def launch(_: int) -> Any:
        return program.post("/sandboxes", {}, Idempotency_Key="key", Prefer="wait=2")

    answers = run_in_threads(6, launch)
    assert {(answer.status_code, answer.json()["state"]) for answer in answers} == {
        (201, "pending")
    }
    assert sum("Preference-Applied" in answer for answer in answers) == waiting


def test_concurrent_log_reads_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    from sandboxes.worker import provisioning

    monkeypatch.setattr(logs, "TIMEOUT_SECONDS", 2)
    program = ApiClient(create_developer("alice"))
    path = f"/sandboxes/{program.launch()['id']}/logs?service=api&tail="
    provisioning.provision(Sandbox.objects.get())

    answers = run_in_threads(6, lambda number: program.get(f"{path}{number + 1}"))
    assert {answer.status_code for answer in answers} == {503}
    refused = [answer for answer in answers if "Too many concurrent" in answer.json()["detail"]]
    assert len(refused) == 4
