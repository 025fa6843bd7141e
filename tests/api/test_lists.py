"""Lists: contents, filters and pagination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.conftest import Clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("runtime"),
    pytest.mark.store,
]


@pytest.fixture
def program(alice: User) -> ApiClient:
    return ApiClient(alice)


def path(sandbox: dict[str, Any], tail: str = "") -> str:
    return f"/sandboxes/{sandbox['id']}{tail}"


def test_the_list_contains_the_users_own_sandboxes_newest_first(
    program: ApiClient, bob: User, clock: Clock
) -> None:
    launched = []
    for _ in range(3):
        launched.append(program.launch()["id"])
        clock.forward(seconds=1)
    ApiClient(bob).launch()
    answer = program.get("/sandboxes").json()
    assert [sandbox["id"] for sandbox in answer["data"]] == launched[::-1]
    assert (answer["has_more"], answer["next_cursor"]) == (False, None)


def test_the_list_can_be_filtered_by_state(program: ApiClient) -> None:
    sandboxes = [program.launch() for _ in range(3)]
    program.delete(path(sandboxes[0]))

    def ids_listed(query: str) -> set[str]:
        return {s["id"] for s in program.get(f"/sandboxes?{query}").json()["data"]}

    ids = [sandbox["id"] for sandbox in sandboxes]
    assert ids_listed("state=running") == set(ids[1:])
    assert ids_listed("state=destroyed") == {ids[0]}
    assert ids_listed("state=destroyed&state=running") == set(ids)
    assert ids_listed("state=failed") == set()


def test_a_longer_list_needs_no_more_queries(
    program: ApiClient, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        program.delete(path(program.launch()))
    # The token, its last use, the sandboxes, their extensions.
    with django_assert_max_num_queries(4):
        assert len(program.get("/sandboxes").json()["data"]) == 5


def test_a_summary_has_the_same_values_in_fewer_fields_and_queries(
    program: ApiClient, django_assert_max_num_queries: Any
) -> None:
    for number in range(3):
        program.launch(metadata={"job": str(number)})
    whole = program.get("/sandboxes?limit=2").json()
    # The token, its last use, the sandboxes.
    with django_assert_max_num_queries(3):
        short = program.get("/sandboxes?limit=2&view=summary").json()
    fields = {"id", "name", "blueprint", "state", "created_at", "expires_at", "ends_at"}
    fields |= {"ended_at", "end_reason", "metadata"}
    assert short == whole | {
        "data": [{name: row[name] for name in fields} for row in whole["data"]]
    }


@pytest.mark.parametrize("view", ["full", "summary"])
def test_a_list_that_has_not_changed_is_not_sent_again(
    program: ApiClient, clock: Clock, view: str
) -> None:
    program.delete(path(program.launch()))
    last = program.launch()
    url = f"/sandboxes?limit=1&view={view}"
    etag = program.get(url)["ETag"]
    clock.forward(seconds=2)
    answer = program.get(url, If_None_Match=etag)
    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)

    program.patch(path(last), {"name": "other"})
    assert program.get(url, If_None_Match=etag).status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("view=short", "view"),
        ("state=gone", "state"),
        ("state=running&state=gone", "state"),
        ("state=", "state"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        *((f"limit={value}", "limit") for value in ("1e1", "5.0", "1_0", "%2B5", "%205", "5%0A")),
        ("cursor=x", "cursor"),
        ("cursor=WzFd:1abc:forged", "cursor"),
    ],
)
def test_an_invalid_query_names_the_field(program: ApiClient, query: str, field: str) -> None:
    problem = assert_problem(program.get(f"/sandboxes?{query}"), 422, field)
    assert {error["field"] for error in problem["errors"]} == {field}


def test_pagination_is_complete_while_new_rows_are_added(
    program: ApiClient, alice: User, clock: Clock
) -> None:
    ids = []
    for _ in range(5):  # At the same time: the cursor must distinguish them.
        ids.append(program.launch()["id"])
        program.delete(f"/sandboxes/{ids[-1]}")
    seen, url = [], "/sandboxes?limit=2&state=destroyed"
    while url:
        answer = program.get(url)
        seen += [sandbox["id"] for sandbox in answer.json()["data"]]
        link = answer.headers.get("Link", "")
        assert bool(link) == answer.json()["has_more"]
        assert not link or link.endswith('; rel="next"')
        url = link.partition("/api/v1")[2].partition(">")[0]
        program.delete(path(program.launch()))
    assert len(seen) == len(set(seen))
    assert seen[:1] == ids[-1:]
    assert set(ids) <= set(seen)


def test_a_cursor_of_another_list_is_rejected(program: ApiClient) -> None:
    events = program.get(path(program.launch(), "/events?limit=1")).json()["next_cursor"]
    assert_problem(program.get(f"/sandboxes?cursor={events}"), 422, "cursor")
