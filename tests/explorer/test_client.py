"""The client of a sandbox's API: destinations, limits, and errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sandboxes import explorer
from sandboxes.explorer import ApiRequest, client
from sandboxes.lib.concurrency import ConcurrencyLimit
from sandboxes.lib.exceptions import StateConflict, Unavailable, ValidationFailed
from sandboxes.models import Sandbox
from tests.fakes.friendbot import raw_server
from tests.fakes.sandbox_api import KEYS, Reply, SandboxApi, with_api_address
from tests.fakes.streaming_server import RESPONSES, streaming_server
from tests.harness.ports import reserve_port
from tests.helpers.scenarios import launch, reload
from tests.helpers.stopwatch import Stopwatch

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

PLANS = ApiRequest("GET", "/v1/plans")


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    return with_api_address(launch(alice), api.address)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.3)


def test_a_request_is_sent_to_the_sandbox_with_its_key(sandbox: Sandbox, api: SandboxApi) -> None:
    response = explorer.send(sandbox, ApiRequest("POST", "/v1/plans?x=%20", b'{"name": "New"}'))
    assert (response.status, response.complete) == (201, True)
    (asked,) = api.asked
    assert (asked.method, asked.target, asked.body) == (
        "POST",
        "/v1/plans?x=%20",
        '{"name": "New"}',
    )
    assert asked.headers["host"] == api.address
    assert asked.headers["authorization"] == f"Bearer {sandbox.secrets['API_KEY']}"
    assert asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "target",
    [
        "",
        "v1/plans",
        "//evil.example/v1",
        "http://evil.example/",
        "@evil.example/",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%2E./admin",
        "/./v1",
        "/..\\admin",
        "/v1 HTTP/1.1\r\nHost: evil.example",
        "/v1\nX-Header: 1",
        "/v1#part",
        "/vé",
        "/\x00",
        "/" + "a" * 5000,
    ],
)
def test_a_path_to_another_host_is_rejected(sandbox: Sandbox, api: SandboxApi, target: str) -> None:
    with pytest.raises(ValidationFailed):
        explorer.send(sandbox, ApiRequest("GET", target))
    assert api.asked == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\nX: 1\r\n", ""])
def test_other_methods_are_rejected(sandbox: Sandbox, api: SandboxApi, method: str) -> None:
    with pytest.raises(ValidationFailed):
        explorer.send(sandbox, ApiRequest(method, "/v1/plans"))
    assert api.asked == []


def test_headers_of_the_user_are_sent_but_never_replace_the_key(
    sandbox: Sandbox, api: SandboxApi
) -> None:
    headers = [("X-Tenant", "t 1"), ("authorization", "Bearer other"), ("Accept", "text/plain")]
    assert explorer.send(sandbox, ApiRequest("GET", "/v1/plans", headers=headers)).succeeded
    (asked,) = api.asked
    assert asked.headers["x-tenant"] == "t 1"
    assert asked.headers["authorization"] == f"Bearer {sandbox.secrets['API_KEY']}"
    assert asked.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    "header",
    [
        ("Host", "evil.example"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("Sandbox-Portal", "automatic"),
        ("X", "a\r\nHost: evil.example"),
        ("X: 1\r\nY", "a"),
        ("X", "ü"),
        ("", "a"),
        ("X", "a" * 5000),
    ],
)
def test_headers_that_frame_a_request_are_rejected(
    sandbox: Sandbox, api: SandboxApi, header: tuple[str, str]
) -> None:
    with pytest.raises(ValidationFailed, match="can't send this header"):
        explorer.send(sandbox, ApiRequest("GET", "/v1/plans", headers=[header]))
    assert api.asked == []


def test_a_large_body_is_rejected(sandbox: Sandbox, api: SandboxApi) -> None:
    with pytest.raises(ValidationFailed, match="256 kB"):
        explorer.send(
            sandbox, ApiRequest("POST", "/v1/plans", b"x" * (client.MAX_REQUEST_BYTES + 1))
        )
    assert api.asked == []


def test_redirects_are_not_followed(sandbox: Sandbox, api: SandboxApi) -> None:
    with SandboxApi() as other:
        elsewhere = f"http://{other.address}/v1/plans"
        api.replies["/v1/plans"] = Reply(302, b"", {"Location": elsewhere})
        response = explorer.send(sandbox, PLANS)
        assert (response.status, dict(response.headers)["location"]) == (302, elsewhere)
        assert (api.targets, other.asked) == (["GET /v1/plans"], [])


def test_proxies_of_the_environment_are_ignored(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{reserve_port()}")
    assert explorer.send(sandbox, PLANS).status == 200


def test_a_large_response_is_truncated(sandbox: Sandbox, api: SandboxApi) -> None:
    api.replies["/v1/plans"] = Reply(body=b"x" * (3 * client.MAX_RESPONSE_BYTES))
    response = explorer.send(sandbox, PLANS)
    assert (len(response.body), response.complete) == (client.MAX_RESPONSE_BYTES, False)


def test_a_response_is_not_decompressed(sandbox: Sandbox, api: SandboxApi) -> None:
    packed = b"\x1f\x8b\x08\x00bomb"
    api.replies["/v1/plans"] = Reply(body=packed, headers={"Content-Encoding": "gzip"})
    assert explorer.send(sandbox, PLANS).body == packed


@pytest.mark.parametrize("slow", [Reply(drips=True), Reply(drips_headers=True)])
@pytest.mark.usefixtures("hasty")
def test_a_slow_response_times_out(sandbox: Sandbox, api: SandboxApi, slow: Reply) -> None:
    api.replies["/v1/plans"] = slow
    stopwatch = Stopwatch()
    with pytest.raises(Unavailable, match=r"did not respond within 0\.3 seconds"):
        explorer.send(sandbox, PLANS)
    assert stopwatch.seconds < 2


@pytest.mark.parametrize(
    ("sends", "says"),
    [
        (None, "did not respond within"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "invalid HTTP response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "invalid HTTP response"),
        (b"", "invalid HTTP response"),
    ],
)
@pytest.mark.usefixtures("hasty")
def test_invalid_http_is_reported(sandbox: Sandbox, sends: bytes | None, says: str) -> None:
    with raw_server(sends) as url, pytest.raises(Unavailable, match=says):
        explorer.send(with_api_address(sandbox, url.removeprefix("http://")), PLANS)


def test_an_unreachable_sandbox_is_reported(sandbox: Sandbox) -> None:
    address = f"127.0.0.1:{reserve_port()}"
    with pytest.raises(Unavailable, match=f"can't reach the sandbox at {address}"):
        explorer.send(with_api_address(sandbox, address), PLANS)


def test_a_sandbox_that_is_not_running_gets_no_request(
    sandbox: Sandbox, api: SandboxApi, alice: User
) -> None:
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint="gone")
    with pytest.raises(StateConflict, match="doesn't describe an API"):
        explorer.send(reload(sandbox), PLANS)
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint="billing", addresses={})
    with pytest.raises(StateConflict, match="URL of the sandbox's API isn't known"):
        explorer.send(reload(sandbox), PLANS)
    waiting = Sandbox(blueprint="billing", state="provisioning", addresses={"api:8080": "x:1"})
    with pytest.raises(StateConflict, match="this one is provisioning"):
        explorer.send(waiting, PLANS)
    assert api.asked == []


def test_the_key_is_not_sent_to_another_program(sandbox: Sandbox, api: SandboxApi) -> None:
    """A container has stopped, and another program got its port."""
    KEYS[api.address] = "sk_test_of_another_sandbox"
    with pytest.raises(Unavailable, match=f"server at {api.address} isn't this sandbox"):
        explorer.send(sandbox, PLANS)
    assert api.asked == []


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.usefixtures("hasty")
def test_a_foreign_server_gets_only_a_challenge(sandbox: Sandbox, name: str) -> None:
    with streaming_server(RESPONSES[name]) as address, pytest.raises(Unavailable):
        explorer.send(with_api_address(sandbox, address), PLANS)


def test_only_requests_of_the_portal_itself_are_marked(sandbox: Sandbox, api: SandboxApi) -> None:
    explorer.send(sandbox, PLANS)
    explorer.fetch_openapi(sandbox)
    sent, fetched = api.asked
    assert "sandbox-portal" not in sent.headers
    assert sent.headers["user-agent"] == "sandbox-portal-explorer"
    assert fetched.headers["sandbox-portal"] == "automatic"


@pytest.mark.usefixtures("hasty")
def test_traffic_of_unasked_requests_is_recorded(sandbox: Sandbox, api: SandboxApi) -> None:
    explorer.fetch_openapi(sandbox)
    document = len(json.dumps(api.document))
    fetched = reload(sandbox)
    assert document < fetched.portal_sent_bytes < document + 5000
    assert 500 < fetched.portal_received_bytes < 5000
    api.replies["/v1/plans"] = Reply(body=b"x" * 500_000)
    explorer.send(sandbox, PLANS)
    assert reload(sandbox).portal_sent_bytes < document + 10_000
    api.replies["/openapi.json"] = Reply(drips=True)
    with pytest.raises(Unavailable):
        explorer.fetch_openapi(sandbox)
    assert reload(sandbox).portal_received_bytes > fetched.portal_received_bytes


def test_hop_by_hop_and_cookie_headers_are_hidden(sandbox: Sandbox, api: SandboxApi) -> None:
    many = {f"X-{number}": "y" * 5000 for number in range(12)}
    own = {"Set-Cookie": "sessionid=x", "Connection": "close"}
    api.replies["/v1/plans"] = Reply(headers={**own, **many})
    headers = explorer.send(sandbox, PLANS).headers
    names = [name for name, _ in headers]
    assert not {"set-cookie", "connection"} & set(names)
    assert len(headers) <= client.MAX_HEADERS
    assert max(len(value) for _, value in headers) == client.MAX_HEADER_LENGTH


def test_concurrent_requests_are_limited() -> None:
    limit = ConcurrencyLimit(total=3, per_user=2)
    with limit.slot("alice"), limit.slot("alice"):
        with pytest.raises(Unavailable), limit.slot("alice"):
            raise AssertionError
        with limit.slot("bob"), pytest.raises(Unavailable), limit.slot("carol"):
            raise AssertionError
    with limit.slot("alice"):
        """The slot is free again."""


def test_a_failed_request_frees_its_slot(sandbox: Sandbox) -> None:
    lost = with_api_address(sandbox, f"127.0.0.1:{reserve_port()}")
    for _ in range(3):
        with pytest.raises(Unavailable, match="can't reach"):
            explorer.send(lost, PLANS)


def test_an_invalid_openapi_document_is_reported(sandbox: Sandbox, api: SandboxApi) -> None:
    for reply, says in (
        (Reply(503), "returned 503"),
        (Reply(body=b"<html>"), "isn't valid JSON"),
        (Reply(body=b"[" * 100_000), "isn't valid JSON"),
        (Reply(body=b'{"swagger": "2.0"}'), "isn't described by an OpenAPI 3"),
        (Reply(body=b'{"openapi": "3.1.0", "paths": 3}'), "has no operations"),
        (Reply(body=b"{" + b" " * client.MAX_RESPONSE_BYTES), "too large"),
    ):
        api.replies["/openapi.json"] = reply
        with pytest.raises(Unavailable, match=says):
            explorer.fetch_openapi(sandbox)
