"""The API of save points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandboxes.models import Scope
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def program(alice: User, runtime: MemoryRuntime) -> ApiClient:
    return ApiClient(alice)


@pytest.fixture
def saved(program: ApiClient) -> dict[str, Any]:
    """Return a save point of a running sandbox."""
    sandbox = program.launch()
    answer = program.post(f"/sandboxes/{sandbox['id']}/save-points", {"name": "before"})
    assert answer.status_code == 201
    assert answer["Location"].endswith(f"/api/v1/save-points/{answer.json()['id']}")
    found: dict[str, Any] = program.get(answer["Location"].partition("/api/v1")[2]).json()
    return found


def test_a_program_saves_restores_launches_renames_and_deletes(
    program: ApiClient, saved: dict[str, Any], runtime: MemoryRuntime
) -> None:
    assert (saved["state"], saved["name"], saved["error"]) == ("ready", "before", None)
    one, sandbox = f"/save-points/{saved['id']}", saved["sandbox"]
    runtime.write_data(sandbox, "changed")
    assert program.post(f"{one}/restore").status_code == 202
    assert runtime.read_data(sandbox) == ""
    copy = program.launch(save_point=saved["id"])
    assert (copy["launched_from"], copy["blueprint"]) == (saved["id"], saved["blueprint"])
    assert program.patch(one, {"name": "after"}).json()["name"] == "after"
    for path in ("/save-points", f"/sandboxes/{sandbox}/save-points"):
        assert [each["id"] for each in program.get(path).json()["data"]] == [saved["id"]]
    assert program.get("/save-points?starting_points=true").json()["data"] == []
    assert program.delete(one).json()["state"] == "deleting"
    assert_problem(program.get(one), 404)
    assert runtime.save_points() == {}


def test_bad_input_changes_nothing(program: ApiClient, saved: dict[str, Any], bob: User) -> None:
    path = f"/sandboxes/{saved['sandbox']}/save-points"
    assert_problem(program.post(path, {"name": " "}), 422, "name")
    assert_problem(program.post(path, {}), 422, "name")
    assert_problem(program.post("/sandboxes", {"save_point": "sp_unknown"}), 422, "save point")
    stranger = ApiClient(bob)
    assert_problem(stranger.post(f"/save-points/{saved['id']}/restore"), 404)
    assert_problem(stranger.post("/sandboxes", {"save_point": saved["id"]}), 422, "save point")
    assert len(program.get("/save-points").json()["data"]) == 1


def test_a_key_repeats_a_save(program: ApiClient, saved: dict[str, Any]) -> None:
    path = f"/sandboxes/{saved['sandbox']}/save-points"
    answers = [program.post(path, {"name": "x"}, Idempotency_Key="k") for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1]["Idempotent-Replayed"] == "true"
    assert_problem(program.post(path, {"name": "y"}, Idempotency_Key="k"), 422)


def test_reading_needs_the_scope_read_and_changes_launch(
    program: ApiClient, saved: dict[str, Any], alice: User
) -> None:
    reader = ApiClient(alice, Scope.READ)
    assert reader.get(f"/save-points/{saved['id']}").status_code == 200
    for method, path in (
        ("POST", f"/sandboxes/{saved['sandbox']}/save-points"),
        ("POST", f"/save-points/{saved['id']}/restore"),
        ("PATCH", f"/save-points/{saved['id']}"),
        ("DELETE", f"/save-points/{saved['id']}"),
    ):
        assert_problem(reader.send(method, path, {"name": "x"}), 403)
