"""The request log."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.billing.harness import API_KEY, ApiClient, assert_problem

pytestmark = pytest.mark.postgres


@pytest.fixture
def api(api: ApiClient, db: psycopg.Connection) -> ApiClient:
    """Begin with an empty log, without late entries of earlier tests."""
    api.get("/v1/requests")
    db.execute("TRUNCATE requests")
    return api


PLAN = {"name": "Logged", "amount": "1.00", "currency": "EUR"}


def test_a_request_is_logged_with_its_bodies(api: ApiClient) -> None:
    created = api.ok("POST", "/v1/plans", 201, json=PLAN, headers={"Request-Id": "order-6735"})
    api.get("/v1/plans/plan_none?x=1")
    missing, found = api.list_all("/v1/requests")
    assert (missing["path"], missing["status"]) == ("/v1/plans/plan_none?x=1", 422)
    assert (found["method"], found["path"], found["status"]) == ("POST", "/v1/plans", 201)
    assert found["request_id"] == "order-6735" and found["duration_ms"] > 0
    assert created["id"] in found["response_body"] and '"Logged"' in found["request_body"]
    assert found["replayable"]
    assert api.ok("GET", f"/v1/requests/{found['id']}") == found


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("method=POST", ["/v1/plans"]),
        ("status=404", ["/v1/invoices/inv_x"]),
        ("status=4xx", ["/v1/nothing", "/v1/invoices/inv_x"]),
        ("path=/v1/invoices", ["/v1/invoices/inv_x"]),
        ("text=logged&status=2xx", ["/v1/plans"]),
        ("text=LOGGED&method=GET", []),
    ],
)
def test_requests_are_filtered(api: ApiClient, query: str, paths: list[str]) -> None:
    api.ok("POST", "/v1/plans", 201, json=PLAN)
    api.get("/v1/invoices/inv_x")
    api.get("/v1/nothing", headers={"Authorization": ""})
    assert [one["path"] for one in api.list_all(f"/v1/requests?{query}")] == paths


@pytest.mark.parametrize("query", ["status=6xx", "status=1", "method=TRACE", "path=%00"])
def test_an_invalid_filter_is_reported(reader: ApiClient, query: str) -> None:
    assert_problem(reader.get(f"/v1/requests?{query}"), 422, field=query.partition("=")[0])


SECRET = "whsec_" + "c2VjcmV0/+" * 4 + "=="


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/v1/webhook_endpoints", {"json": {"url": "https://a.example", "secret": SECRET}}),
        (
            "/v1/webhook_endpoints",
            {"content": f'{{"secret": "{SECRET}"'.replace("/", "\\/").encode()},
        ),
        ("/v1/webhook_endpoints", {"json": {"url": "https://a.example", "secret": "my c2Vj"}}),
        (f"/v1/plans?key={API_KEY}", {}),
        (f"/v1/{API_KEY}", {}),
        ("/v1/plans", {"json": {"password": 'x\\"c2Vj', "text": "S" + "A2" * 27 + "Q"}}),
    ],
)
def test_no_secret_is_logged(
    api: ApiClient, db: psycopg.Connection, path: str, options: dict[str, Any]
) -> None:
    api.post(path, **options)
    [found] = api.list_all("/v1/requests")
    assert not found["replayable"] and "[secret]" in found["path"] + found["request_body"]
    [[row]] = db.execute("SELECT requests::text FROM requests").fetchall()
    assert not any(part in row for part in ("c2Vj", API_KEY[8:], "A2A2"))


def test_the_log_is_bounded(api: ApiClient, db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO requests (method, path, status, duration_ms, request_id, request_body,"
        " response_body, replayable, created_at)"
        " SELECT 'GET', '/old', 200, 1, '', repeat('x', 2000), '', true, now()"
        " FROM generate_series(1, 2000)"
    )
    for _ in range(500):
        api.get("/v1/plans/" + "x" * 3000)
    assert api.ok("GET", "/v1/requests?limit=1")["total"] <= 1500
    [newest] = api.ok("GET", "/v1/requests?limit=1")["data"]
    assert len(newest["path"]) == 2000 and not newest["replayable"]


def test_reading_the_log_is_not_logged(reader: ApiClient) -> None:
    before = reader.ok("GET", "/v1/requests")["total"]
    assert reader.ok("GET", "/v1/requests")["total"] == before
