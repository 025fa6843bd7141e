"""HTTP: authentication, methods, bodies, CORS, and the documentation pages."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Basic c2tfdGVzdA==", "Bearer sk_test_wrong", "Bearer ключ"],
)
@pytest.mark.parametrize("path", ["/v1/plans", "/v1/plans/plan_team", "/v1/nothing"])
def test_requests_without_the_key_are_unauthorized_on_every_path(
    reader: ApiClient, authorization: str, path: str
) -> None:
    headers = {b"Authorization": authorization.encode()}
    response = httpx2.get(f"{reader.base_url}{path}", headers=headers)
    assert_problem(response, 401, "key")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_authentication_scheme_is_case_insensitive(reader: ApiClient) -> None:
    key = reader.headers["Authorization"].split()[1]
    assert reader.get("/v1/plans", headers={"Authorization": f"bearer {key}"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/plans", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/v1/plans/plan_team", "GET, HEAD, OPTIONS, PATCH"),
        ("GET", "/v1/invoices/inv_007/pay", "OPTIONS, POST"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_the_allowed_ones(
    reader: ApiClient, method: str, path: str, allowed: str
) -> None:
    response = reader.request(method, path)
    assert_problem(response, 405, method)
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1/plans/", "/v1/plans/a/b/c", "/v2/plans", "/x"]
)
def test_an_unknown_path_is_not_found(reader: ApiClient, path: str) -> None:
    assert_problem(reader.get(path), 404, "Not found")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"name": "\\ud800"}'])
def test_a_body_that_is_not_json_is_a_bad_request(reader: ApiClient, body: bytes) -> None:
    assert_problem(reader.post("/v1/plans", content=body), 400, "JSON")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7"])
def test_a_json_body_must_be_an_object(reader: ApiClient, body: bytes) -> None:
    assert_problem(reader.post("/v1/plans", content=body), 422, "an object", field="body")


@pytest.mark.parametrize("size", [65 * 1024, 2 * 1024 * 1024])
def test_a_body_that_is_too_large_is_rejected(reader: ApiClient, size: int) -> None:
    assert_problem(reader.post("/v1/plans", content=b"x" * size), 413)


def test_the_content_type_of_the_body_is_ignored(reader: ApiClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_problem(reader.post("/v1/plans", content=b"{}", headers=form), 422, field="name")


def test_an_invalid_http_request_is_answered_with_a_problem(api_url: str) -> None:
    where = urlsplit(api_url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nbroken\r\n\r\n")
        response = connection.makefile("rb").read()
    assert b" 400 Bad Request\r\n" in response
    assert b"application/problem+json" in response and b'"status":400' in response


def test_head_responds_like_get_without_a_body(reader: ApiClient) -> None:
    response = reader.head("/v1/plans")
    assert response.status_code == 200 and not response.content
    assert int(response.headers["Content-Length"]) == len(reader.get("/v1/plans").content)


def test_a_page_of_another_origin_may_call_the_api_with_the_key(reader: ApiClient) -> None:
    asking = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "PATCH"}
    preflight = httpx2.options(f"{reader.base_url}/v1/plans/plan_team", headers=asking)
    assert preflight.status_code == 204 and not preflight.content
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert reader.get("/v1/plans").headers["Access-Control-Allow-Origin"] == "*"
    unauthorized = httpx2.get(f"{reader.base_url}/v1/plans", headers=asking)
    assert unauthorized.headers["Access-Control-Allow-Origin"] == "*"


def test_health_checks_need_no_key(reader: ApiClient) -> None:
    assert httpx2.get(f"{reader.base_url}/healthz").json() == {"status": "ok"}
    ready = httpx2.get(f"{reader.base_url}/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "plans": 5, "subscribers": 10, "invoices": 20}


def test_the_documentation_loads_only_local_files(reader: ApiClient) -> None:
    assert httpx2.get(f"{reader.base_url}").headers["Location"] == "/docs"
    page = httpx2.get(f"{reader.base_url}/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "page.css"):
        assert f"/docs/{asset}" in page.text
        assert len(httpx2.get(f"{reader.base_url}/docs/{asset}").content) > 100
    assert "http://" not in page.text and "https://" not in page.text


@pytest.mark.parametrize(
    "path", ["/docs/../app.py", "/docs/%2e%2e/app.py", "/docs/page.html", "/docs/x"]
)
def test_no_other_file_is_served(reader: ApiClient, path: str) -> None:
    assert_problem(httpx2.get(f"{reader.base_url}{path}"), 404)
