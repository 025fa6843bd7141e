"""Many at once, in real threads: exactly the limit is admitted, and one key is one sandbox."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User

from sandboxes.models import Event, Sandbox, State
from tests.harness.databases import at_once
from tests.helpers.api_client import Program

if TYPE_CHECKING:
    from kombu import Connection
    from pytest_django.fixtures import SettingsWrapper

pytestmark = [pytest.mark.usefixtures("shared_database", "no_worker", "runtime"), pytest.mark.store]


def developer(name: str) -> User:
    return User.objects.create_user(name, f"{name}@example.com")


def test_of_50_parallel_launches_exactly_the_limit_is_admitted() -> None:
    program = Program(developer("alice"))
    answers = at_once(50, lambda number: program.post("/sandboxes", {"name": f"no {number}"}))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 429: 47}
    assert sorted(Sandbox.objects.values_list("slot", flat=True)) == [1, 2, 3]
    refusals = [answer.json() for answer in answers if answer.status_code == 429]
    assert {(refusal["limit"], refusal["active"]) for refusal in refusals} == {(3, 3)}
    assert all(int(answer["Retry-After"]) > 0 for answer in answers if answer.status_code == 429)


def test_of_50_parallel_launches_by_many_exactly_the_sites_limit_is_admitted(
    settings: SettingsWrapper,
) -> None:
    settings.SANDBOX_MAX_SITE = 7
    programs = [Program(developer(f"developer{number}")) for number in range(25)]
    answers = at_once(50, lambda number: programs[number % 25].post("/sandboxes"))
    assert Counter(answer.status_code for answer in answers) == {201: 7, 429: 43}
    assert Sandbox.objects.count() == 7


def test_of_20_parallel_launches_with_one_key_there_is_one_sandbox() -> None:
    program = Program(developer("alice"))

    def launch(_: int) -> Any:
        return program.post("/sandboxes", {"name": "one"}, Idempotency_Key="the-key")

    answers = at_once(20, launch)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in answers) == 1
    assert Sandbox.objects.count() == 1


def test_of_20_parallel_extensions_one_is_granted(no_worker: Connection) -> None:
    from sandboxes.worker import provisioning

    program = Program(developer("alice"))
    sandbox = program.launch()
    provisioning.provision(Sandbox.objects.get())
    path = f"/sandboxes/{sandbox['id']}/extensions"
    answers = at_once(20, lambda _: program.post(path, {"minutes": 30}))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}


def test_of_20_parallel_deletions_one_is_noted_and_none_is_an_error() -> None:
    program = Program(developer("alice"))
    sandbox = program.launch()
    answers = at_once(20, lambda _: program.delete(f"/sandboxes/{sandbox['id']}"))
    assert {answer.status_code for answer in answers} == {202}
    assert Event.objects.filter(kind="ending").count() == 1


def test_who_waits_is_answered_as_soon_as_it_runs() -> None:
    from sandboxes.worker import provisioning

    program = Program(developer("alice"))

    def ask_or_work(number: int) -> Any:
        if number == 0:
            return program.post("/sandboxes", {}, Prefer="respond-async, wait=60")
        while not (waiting := Sandbox.objects.filter(state=State.PENDING).first()):
            pass
        return provisioning.provision(waiting)

    answer = at_once(2, ask_or_work)[0]
    assert answer.status_code == 201
    assert answer.json()["state"] == "running"
    assert answer["Preference-Applied"] == "wait=60"
