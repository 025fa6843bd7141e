"""One request to a sandbox's own API, sent for its owner, with the key added here.

It goes where the sandbox's row says and nowhere else. Host and port are never the caller's,
redirects and the environment's proxies are not followed, nothing is unpacked; how long, how large
and how many at once is bounded, because what answers is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sandboxes import blueprints
from sandboxes.explorer.concurrency import ConcurrencyLimit
from sandboxes.lib import http_client
from sandboxes.lib.exceptions import StateConflict, Unavailable, ValidationFailed
from sandboxes.models import Sandbox, State

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
TIMEOUT_SECONDS = 5.0
MAX_REQUEST_BYTES = 256 * 1024
MAX_RESPONSE_BYTES = 1024 * 1024
"""Bytes; what comes after them is not read."""
MAX_TARGET_LENGTH = 4000
MAX_HEADERS, MAX_HEADER_LENGTH = 40, 1000
HIDDEN_HEADERS = {"connection", "keep-alive", "set-cookie", "transfer-encoding"}
"""Headers of a response that say nothing about it, or that belong to nobody else."""
TARGET_PATTERN = re.compile(r"/(?!/)[!-\"$-~]*")
"""Printable ASCII without a space or `#`: it can't end a line, nor name another host."""

concurrency_limit = ConcurrencyLimit(total=8, per_user=2)


@dataclass(frozen=True)
class ApiRequest:
    """A request: the target is a path, with a query perhaps, below the API's address."""

    method: str
    target: str
    body: bytes = b""


@dataclass(frozen=True)
class ApiResponse:
    """What came back; `complete` unless it was too large to be read to the end."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    complete: bool
    seconds: float

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - as HTTP has it

    @property
    def media_type(self) -> str:
        """Of the body, in lower case and without parameters."""
        found = next((value for name, value in self.headers if name == "content-type"), "")
        return found.partition(";")[0].strip().lower()


def api_base_url(sandbox: Sandbox) -> str:
    """The address of the API that can be asked, without a slash at its end.

    Raises StateConflict, where the sandbox does not run or its blueprint describes no API.
    """
    blueprint = blueprints.available().get(sandbox.blueprint)
    if blueprint is None or not blueprint.openapi_endpoint:
        raise StateConflict("Its blueprint does not describe an API that could be tried here.")
    if sandbox.state != State.RUNNING:
        raise StateConflict(f"Only a running sandbox answers; this one is {sandbox.state}.")
    found = blueprint.endpoint_urls(sandbox.addresses).get(blueprint.openapi_endpoint)
    if not found:
        raise StateConflict("The address of its API is not known.")
    return found.rstrip("/")


def send(sandbox: Sandbox, request: ApiRequest) -> ApiResponse:
    """Ask the sandbox's API. Raises StateConflict, ValidationFailed, Unavailable."""
    base_url = api_base_url(sandbox)
    _validate(request)
    with concurrency_limit.slot(sandbox.owner_id):
        try:
            response = http_client.send(
                request.method,
                base_url + request.target,
                headers=_headers(sandbox, request),
                body=request.body,
                limits=http_client.Limits(TIMEOUT_SECONDS, MAX_RESPONSE_BYTES),
            )
        except http_client.TimedOut:
            raise Unavailable(
                f"The sandbox did not respond within {TIMEOUT_SECONDS:g} seconds."
            ) from None
        except http_client.ConnectionFailed:
            words = (
                f"The portal can't reach the sandbox at {urlsplit(base_url).netloc}. "
                "It may still be reachable from your machine."
            )
            raise Unavailable(words) from None
        except http_client.InvalidResponse:
            raise Unavailable("The sandbox sent an invalid HTTP response.") from None
    return ApiResponse(
        response.status,
        _visible_headers(response.headers),
        response.body,
        response.complete,
        response.seconds,
    )


def _validate(request: ApiRequest) -> None:
    if request.method not in METHODS:
        raise ValidationFailed("method", f"Choose one of {', '.join(METHODS)}.")
    path = unquote(request.target.partition("?")[0])
    sound = TARGET_PATTERN.fullmatch(request.target) and not {".", ".."} & set(
        re.split(r"[/\\]", path)
    )
    if not sound or len(request.target) > MAX_TARGET_LENGTH:
        raise ValidationFailed("path", "This is no path of an API.")
    if len(request.body) > MAX_REQUEST_BYTES:
        raise ValidationFailed("body", f"Send at most {MAX_REQUEST_BYTES // 1024} kB.")


def _headers(sandbox: Sandbox, request: ApiRequest) -> list[tuple[str, str]]:
    blueprint = blueprints.load(sandbox.blueprint)
    own = blueprint.fill_credentials(sandbox.secrets, sandbox.addresses)
    headers = [("Accept", "application/json"), ("User-Agent", "sandbox-portal")]
    headers.append(("Accept-Encoding", "identity"))
    if key := own.get(blueprint.endpoints[blueprint.openapi_endpoint].bearer):
        headers.append(("Authorization", f"Bearer {key}"))
    if request.body:
        headers.append(("Content-Type", "application/json"))
    return headers


def _visible_headers(headers: http_client.Headers) -> list[tuple[str, str]]:
    """Return the headers that are shown to the user, cut to a bounded number and length."""
    visible = [
        (name, value[:MAX_HEADER_LENGTH]) for name, value in headers if name not in HIDDEN_HEADERS
    ]
    return visible[:MAX_HEADERS]
