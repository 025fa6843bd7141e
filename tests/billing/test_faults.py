"""Faults on purpose."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres


def inject(api: ApiClient, **fault: Any) -> str:
    return str(api.ok("POST", "/v1/faults", 201, json=fault)["id"])


def test_a_share_of_the_requests_to_a_route_fails_at_regular_intervals(api: ApiClient) -> None:
    fault = inject(api, method="GET", path="/v1/plans", error_percent=50, status=503)
    assert [api.get("/v1/plans").status_code for _ in range(4)] == [200, 503, 200, 503]
    assert api.get("/v1/invoices").status_code == 200
    api.ok("DELETE", f"/v1/faults/{fault}")
    assert [api.get("/v1/plans").status_code for _ in range(2)] == [200, 200]


def test_a_client_is_told_when_to_try_again(api: ApiClient) -> None:
    inject(api, path="/v1/invoices/{id}/pay", error_percent=100, status=429, retry_after=7)
    response = api.post("/v1/invoices/inv_007/pay")
    assert_problem(response, 429, "Injected")
    assert response.headers["Retry-After"] == "7"
    assert api.ok("GET", "/v1/invoices/inv_007")["status"] == "open"


def test_a_slow_request_succeeds_once(api: ApiClient) -> None:
    inject(api, method="POST", latency_ms=300)
    started = time.monotonic()
    api.ok("POST", "/v1/plans", 201, json={"name": "Slow", "amount": "1", "currency": "EUR"})
    assert time.monotonic() - started > 0.3
    assert api.ok("GET", "/v1/plans")["total"] == 6


def test_a_fault_ends_on_its_own_and_leaves_faults_reachable(
    api: ApiClient, db: psycopg.Connection
) -> None:
    inject(api, error_percent=100)
    assert api.get("/v1/plans").status_code == 500
    assert api.ok("GET", "/v1/faults")["total"] == 3
    db.execute("UPDATE faults SET ends_at = now()")
    assert api.get("/v1/plans").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "error_percent"),
        ({"error_percent": 101}, "error_percent"),
        ({"latency_ms": 5001}, "latency_ms"),
        ({"latency_ms": 1, "path": "/v1/bills"}, "path"),
        ({"latency_ms": 1, "path": "/healthz"}, "path"),
        ({"error_percent": 1, "status": 404}, "status"),
        ({"error_percent": 1, "seconds": 0}, "seconds"),
    ],
)
def test_an_invalid_fault_is_reported(reader: ApiClient, body: dict[str, Any], field: str) -> None:
    assert_problem(reader.post("/v1/faults", json=body), 422, field=field)
