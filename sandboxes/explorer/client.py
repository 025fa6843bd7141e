"""HTTP client that sends a request of the owner to the sandbox's API, and adds the key.

Host and port come from the sandbox's row, never from the caller. Redirects and the proxies of the
environment aren't followed, and nothing is decompressed. Duration, sizes and concurrency are
limited, since the response comes from untrusted software.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from sandboxes import blueprints
from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.blueprints.blueprint import Endpoint
from sandboxes.lib import clock
from sandboxes.lib.concurrency import ConcurrencyLimit
from sandboxes.lib.exceptions import StateConflict, Unavailable, ValidationFailed
from sandboxes.lib.http import client as http_client
from sandboxes.lib.http.tcp_traffic import Traffic
from sandboxes.models import Sandbox, State

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
TIMEOUT_SECONDS = 5.0
MAX_REQUEST_BYTES = 256 * 1024
MAX_RESPONSE_BYTES = 1024 * 1024
"""Bytes; the rest of a response isn't read."""
MAX_TARGET_LENGTH = 4000
MAX_HEADERS, MAX_HEADER_LENGTH = 40, 1000
OWN_HEADERS = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "sandbox-portal",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
}
"""Headers that frame a request or say who sends it, so that users can't set them."""
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ -~]*")
HIDDEN_HEADERS = {"connection", "keep-alive", "set-cookie", "transfer-encoding"}
"""Hop-by-hop and cookie headers, not shown to the user."""
TARGET_PATTERN = re.compile(r"/(?!/)[!-\"$-~]*")
"""Printable ASCII without a space or `#`, so that it can't end a line or name another host."""

PORTAL_HEADER = "Sandbox-Portal"
"""Marks requests that the portal sends unasked, so that APIs can leave them out of their logs."""
PORTAL_AUTH = Auth(AuthType.BEARER, "secret")
"""How requests of the portal with a secret of their own authenticate."""
IDENTITY_CONTEXT = "sandbox-identity:"
MAX_PROOF_BYTES = 1024

concurrency_limit = ConcurrencyLimit.share_of_web_threads(1 / 4, per_user=2)
page_limit = ConcurrencyLimit.share_of_web_threads(1 / 4, per_user=2)
"""Pages and downloads that hold what a sandbox sent, each up to about 25 MB."""


@dataclass(frozen=True)
class ApiRequest:
    """A request; the target is a path below the API's base URL, with an optional query."""

    method: str
    target: str
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    automatic: bool = False
    """Whether the portal sends it unasked. It is marked, and isn't counted as activity."""


@dataclass(frozen=True)
class ApiResponse:
    """A response; `complete` is false if it was too large to read to the end."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    complete: bool
    seconds: float

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - successful HTTP status codes

    @property
    def media_type(self) -> str:
        """The body's media type, in lower case and without parameters."""
        found = next((value for name, value in self.headers if name == "content-type"), "")
        return found.partition(";")[0].strip().lower()


def api_base_url(sandbox: Sandbox, endpoint: str = "") -> str:
    """Return the base URL of the sandbox's API, without a slash at its end.

    The API is that of the named endpoint, or by default the one with an OpenAPI document.

    Raises StateConflict if the sandbox isn't running or its blueprint describes no API.
    """
    blueprint = blueprints.find_for_sandbox(sandbox)
    name = endpoint or (blueprint.openapi_endpoint if blueprint else "")
    if blueprint is None or not name:
        raise StateConflict("The blueprint of this sandbox doesn't describe an API to explore.")
    if sandbox.state != State.RUNNING:
        raise StateConflict(f"Only a running sandbox responds; this one is {sandbox.state}.")
    found = blueprint.endpoint_urls(sandbox.addresses).get(name)
    if not found:
        raise StateConflict("The URL of the sandbox's API isn't known.")
    return found.rstrip("/")


def send(
    sandbox: Sandbox, request: ApiRequest, endpoint: str = "", seconds: float | None = None
) -> ApiResponse:
    """Send the request to the named endpoint, or by default to the one with an OpenAPI document.

    Raises StateConflict, ValidationFailed, Unavailable.
    """
    base_url = api_base_url(sandbox, endpoint)
    _validate(request)
    called = _endpoint(sandbox, endpoint)
    key = _key(sandbox, called)
    own = _headers(request) + called.auth.headers(key)
    names = {name.lower() for name, _ in own}
    headers = own + [(name, value) for name, value in request.headers if name.lower() not in names]
    with concurrency_limit.slot(sandbox.owner_id):
        _verify_identity(called, base_url, key, partial(_exchange, sandbox, base_url))
        response = _exchange(sandbox, base_url, request, headers, seconds=seconds)
    return ApiResponse(
        response.status,
        _visible_headers(response.headers),
        response.body,
        response.complete,
        response.seconds,
    )


def _exchange(
    sandbox: Sandbox,
    base_url: str,
    request: ApiRequest,
    headers: http_client.Headers,
    max_bytes: int = MAX_RESPONSE_BYTES,
    seconds: float | None = None,
) -> http_client.Response:
    traffic = [Traffic()]
    limits = http_client.Limits(seconds or TIMEOUT_SECONDS, max_bytes)
    try:
        return _call(base_url, request, headers, limits, traffic.append)
    finally:
        rows = Sandbox.objects.filter(pk=sandbox.pk)
        if request.automatic:
            rows.add_portal_traffic(received=traffic[-1].sent, sent=traffic[-1].received)
        else:
            rows.record_activity(clock.now())


def _call(
    base_url: str,
    request: ApiRequest,
    headers: http_client.Headers,
    limits: http_client.Limits,
    on_traffic: Callable[[Traffic], object],
) -> http_client.Response:
    try:
        return http_client.send(
            request.method,
            base_url + request.target,
            headers=headers,
            body=request.body,
            limits=limits,
            on_traffic=on_traffic,
        )
    except http_client.TimedOut:
        raise Unavailable(
            f"The sandbox did not respond within {limits.seconds:g} seconds."
        ) from None
    except http_client.ConnectionFailed:
        words = (
            f"The portal can't reach the sandbox at {urlsplit(base_url).netloc}. "
            "It may still be reachable from your machine."
        )
        raise Unavailable(words) from None
    except http_client.InvalidResponse:
        raise Unavailable("The sandbox sent an invalid HTTP response.") from None


def _verify_identity(
    endpoint: Endpoint,
    base_url: str,
    key: str,
    exchange: Callable[[ApiRequest, http_client.Headers, int], http_client.Response],
) -> None:
    """Raise Unavailable unless the server proves that it has the key, without being told it.

    The port of a sandbox that has stopped may belong to another program by now.
    """
    if not endpoint.identity or not key:
        return
    challenge = secrets.token_hex(32)
    request = ApiRequest("GET", f"{endpoint.identity}?challenge={challenge}", automatic=True)
    response = exchange(request, _headers(request), MAX_PROOF_BYTES)
    proof = hmac.digest(key.encode(), f"{IDENTITY_CONTEXT}{challenge}".encode(), "sha256").hex()
    if not hmac.compare_digest(response.body.strip(), proof.encode()):
        raise Unavailable(
            f"The server at {urlsplit(base_url).netloc} isn't this sandbox, so the portal didn't "
            "send it the credential. The sandbox may have stopped a moment ago."
        )


@dataclass(frozen=True)
class PortalAccess:
    """What the portal's own requests to an endpoint of a sandbox need, without the database."""

    base_url: str
    endpoint: Endpoint
    key: str
    """What the endpoint proves to know."""
    token: str
    """What the portal sends as a bearer token."""


def portal_access(sandbox: Sandbox, endpoint_name: str, secret: str) -> PortalAccess:
    """Return the access to an endpoint with a secret of the sandbox.

    Raises StateConflict if its address isn't known, and DecryptionError.
    """
    blueprint = blueprints.for_sandbox(sandbox)
    endpoint = blueprint.endpoints[endpoint_name]
    found = blueprint.endpoint_urls(sandbox.addresses).get(endpoint_name)
    if not found:
        raise StateConflict("The URL of the sandbox's API isn't known.")
    own = blueprint.fill_credentials(sandbox.secrets, sandbox.addresses)
    key = own.get(endpoint.auth.credential, "")
    return PortalAccess(found.rstrip("/"), endpoint, key, sandbox.secrets.get(secret, ""))


def send_as_portal(
    access: PortalAccess,
    request: ApiRequest,
    seconds: float,
    on_traffic: Callable[[Traffic], Any],
    *,
    verified: bool = False,
) -> http_client.Response:
    """Send a request of the portal itself, which doesn't count as activity.

    Reads no database, so that requests that wait need no connection. The server proves its identity
    first, unless it has just been `verified`. Raises Unavailable.
    """

    def exchange(
        request: ApiRequest, headers: http_client.Headers, max_bytes: int
    ) -> http_client.Response:
        limits = http_client.Limits(seconds, max_bytes)
        return _call(access.base_url, request, headers, limits, on_traffic)

    if not verified:
        _verify_identity(access.endpoint, access.base_url, access.key, exchange)
    headers = _headers(request) + PORTAL_AUTH.headers(access.token)
    return exchange(request, headers, MAX_RESPONSE_BYTES)


def _validate(request: ApiRequest) -> None:
    if request.method not in METHODS:
        raise ValidationFailed("method", f"Choose one of {', '.join(METHODS)}.")
    path = unquote(request.target.partition("?")[0])
    sound = TARGET_PATTERN.fullmatch(request.target) and not {".", ".."} & set(
        re.split(r"[/\\]", path)
    )
    if not sound or len(request.target) > MAX_TARGET_LENGTH:
        raise ValidationFailed("path", "Invalid path.")
    for name, value in request.headers:
        is_long = len(value) > MAX_HEADER_LENGTH
        if is_long or name.lower() in OWN_HEADERS or not HEADER.fullmatch(f"{name}:{value}"):
            raise ValidationFailed(name, "The explorer can't send this header.")
    if len(request.headers) > MAX_HEADERS:
        raise ValidationFailed("headers", f"Send at most {MAX_HEADERS} headers.")
    if len(request.body) > MAX_REQUEST_BYTES:
        raise ValidationFailed("body", f"Send at most {MAX_REQUEST_BYTES // 1024} kB.")


def _endpoint(sandbox: Sandbox, name: str) -> Endpoint:
    blueprint = blueprints.for_sandbox(sandbox)
    return blueprint.endpoints[name or blueprint.openapi_endpoint]


def _key(sandbox: Sandbox, endpoint: Endpoint) -> str:
    blueprint = blueprints.for_sandbox(sandbox)
    own = blueprint.fill_credentials(sandbox.secrets, sandbox.addresses)
    return own.get(endpoint.auth.credential, "")


def _headers(request: ApiRequest) -> list[tuple[str, str]]:
    headers = [("Accept", "application/json"), ("Accept-Encoding", "identity")]
    if request.automatic:
        headers += [("User-Agent", "sandbox-portal"), (PORTAL_HEADER, "automatic")]
    else:
        headers.append(("User-Agent", "sandbox-portal-explorer"))
    if request.body:
        headers.append(("Content-Type", "application/json"))
    return headers


def _visible_headers(headers: http_client.Headers) -> list[tuple[str, str]]:
    """Return the headers that are shown to the user, cut to a bounded number and length."""
    visible = [
        (name, value[:MAX_HEADER_LENGTH]) for name, value in headers if name not in HIDDEN_HEADERS
    ]
    return visible[:MAX_HEADERS]
