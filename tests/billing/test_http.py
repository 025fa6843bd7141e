"""HTTP: authentication, methods, bodies, CORS, and the documentation pages."""

from __future__ import annotations

import hmac
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from sandboxes.blueprints import load
from tests.billing.harness import ApiClient, assert_problem, running_api
from tests.harness.ports import reserve_port

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
    assert b"\r\nRequest-Id: req_" in response


@pytest.mark.parametrize("path", ["/v1/plans", "/v1/plans/plan_team", "/docs", "/openapi.json"])
def test_head_responds_like_get_without_a_body(reader: ApiClient, path: str) -> None:
    response = reader.head(path)
    assert response.status_code == 200 and not response.content
    assert int(response.headers["Content-Length"]) == len(reader.get(path).content)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/plans", "GET, HEAD, OPTIONS, POST"), ("/v1/invoices/inv_007/pay", "OPTIONS, POST"),
     ("/docs", "GET, HEAD, OPTIONS")],
)  # fmt: skip
def test_options_lists_the_methods_of_a_path_without_the_key(
    reader: ApiClient, path: str, allowed: str
) -> None:
    response = httpx2.options(f"{reader.base_url}{path}")
    assert response.status_code == 204
    assert response.headers["Allow"] == allowed


ASKED = "authorization,content-type,idempotency-key,traceparent,tracestate,x-request-id"


def preflight(api: ApiClient, path: str, method: str, headers: str) -> httpx2.Response:
    asking = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    return httpx2.options(f"{api.base_url}{path}", headers=asking)


@pytest.mark.parametrize(
    "path", ["/v1/plans/plan_team", "/v1/nothing", "/openapi.json", "/healthz"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT"])
def test_a_page_of_another_origin_may_send_any_method_and_header(
    reader: ApiClient, path: str, method: str
) -> None:
    response = preflight(reader, path, method, ASKED)
    assert response.status_code == 204 and not response.content
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert method in response.headers["Access-Control-Allow-Methods"].split(", ")
    assert response.headers["Access-Control-Allow-Headers"] == ASKED


@pytest.mark.parametrize("headers", ["", "a b", "a,,b", "x: y", ","])
def test_a_preflight_without_valid_headers_allows_the_usual_ones(
    reader: ApiClient, headers: str
) -> None:
    allowed = preflight(reader, "/v1/plans", "POST", headers)
    assert "Idempotency-Key" in allowed.headers["Access-Control-Allow-Headers"]


def test_a_page_of_another_origin_can_read_every_response(reader: ApiClient) -> None:
    unauthorized = httpx2.get(f"{reader.base_url}/v1/plans")
    for response in (reader.get("/v1/plans"), reader.delete("/v1/plans"), unauthorized):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Request-Id", "Retry-After", "Location", "Idempotent-Replayed"} <= {*exposed}


def test_every_response_has_a_request_id(reader: ApiClient) -> None:
    anonymous = httpx2.Client(base_url=reader.base_url)
    responses = [
        reader.get("/v1/plans"),
        reader.get("/v1/nothing"),
        reader.post("/v1/plans", content=b"{"),
        reader.post("/v1/plans", content=b"x" * 2 * 1024 * 1024),
        *(anonymous.get(path) for path in ("/v1/plans", "/", "/docs", "/healthz", "/x")),
        anonymous.options("/v1/plans"),
        anonymous.head("/openapi.json"),
    ]
    ids = [response.headers["Request-Id"] for response in responses]
    assert len({*ids}) == len(ids) and all(one.startswith("req_") for one in ids)


@pytest.mark.parametrize("header", ["Request-Id", "X-Request-Id", "x-request-id"])
@pytest.mark.parametrize(
    ("sent", "taken"),
    [("4bf92f35-77b3", True), ("a" * 128, True), ("a" * 129, False), ("a b", False),
     ('"a"', False), ("é", False), ("", False)],
)  # fmt: skip
def test_a_valid_request_id_is_taken_over(
    reader: ApiClient, header: str, sent: str, taken: bool
) -> None:
    response = reader.get("/v1/plans", headers={header: sent.encode()})
    assert (response.headers["Request-Id"] == sent) is taken


def test_each_request_is_one_line_of_json_in_the_log(packages: Path) -> None:
    nowhere = f"postgresql://billing_api@127.0.0.1:{reserve_port()}/billing"
    with running_api(packages, nowhere) as (url, log), ApiClient(url) as client:
        client.get("/v1/nothing/é%0A?a=b", headers={"Request-Id": "mine"})
        client.delete("/v1/plans", headers={"User-Agent": "sandbox-portal"})
        client.get("/healthz")
        client.get("/v1/nothing", headers={"Sandbox-Portal": "automatic"})
        client.get("/readyz")
        lines = log().splitlines()
    first, second = map(json.loads, lines[-3:-1])
    assert first.pop("ms") >= 0
    assert datetime.fromisoformat(first.pop("time")).tzinfo == UTC
    assert first == {
        "method": "GET",
        "path": "/v1/nothing/é\n",
        "status": 404,
        "request_id": "mine",
        "user_agent": client.headers["User-Agent"],
    }
    assert (second["method"], second["status"]) == ("DELETE", 405)
    # The portal's own requests aren't counted.
    requests = load("billing").requests
    assert requests
    counted = [requests.further([line.encode()], "").lines for line in lines[-3:]]
    assert counted == [1, 0, 1]


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


def test_the_api_proves_that_it_has_its_key_without_telling_it(reader: ApiClient) -> None:
    challenge = "0123456789abcdef" * 4
    response = httpx2.get(f"{reader.base_url}/identity", params={"challenge": challenge})
    key = reader.headers["authorization"].removeprefix("Bearer ")
    message = f"sandbox-identity:{challenge}".encode()
    assert response.text == hmac.digest(key.encode(), message, "sha256").hex()
    for wrong in ("", "short", challenge.upper()):
        url = f"{reader.base_url}/identity"
        assert_problem(httpx2.get(url, params={"challenge": wrong}), 422)
