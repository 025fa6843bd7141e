"""The requests of the portal's API and its responses, without sending anything.

The synchronous and the asynchronous client share this module and differ only in how they wait.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx2

from sandbox_client import __version__, errors

API = "/api/v1"
USER_AGENT = f"sandbox-client/{__version__}"
PARTIAL_WAIT_SECONDS = 30
"""The longest time that the portal delays a response (`Prefer: wait`): proxies may end requests
that take a minute."""
BEATS = 3
"""Heartbeats that are sent in the time after which the portal ends a sandbox without one."""
REQUEST_SECONDS = 30
CONNECT_SECONDS = 10
LAUNCHING = ("pending", "provisioning")
PAGE_SIZE = 100


@dataclass(frozen=True)
class Call:
    """A request to the API. `seconds` is the time that the response may take."""

    method: str
    path: str
    body: Any = None
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = REQUEST_SECONDS

    @property
    def url(self) -> str:
        """The path below the portal's address."""
        return f"{API}{self.path}"


def headers(token: str) -> dict[str, str]:
    """Return the headers of every request."""
    return {"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT}


def timeout(call: Call) -> httpx2.Timeout:
    """Return the time limits of a request."""
    return httpx2.Timeout(call.seconds, connect=CONNECT_SECONDS)


def ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """Return what verifies the portal's certificate.

    These are the authorities of this machine, and those in `ca_file` or `SSL_CERT_FILE`. Raises
    PortalUnreachable if the file can't be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise errors.PortalUnreachable(
            f"{ca_file} isn't a file of certificates: {error}"
        ) from error


def unreachable(url: str, error: Exception) -> str:
    """Return a sentence on why the portal didn't answer, and what to do."""
    if isinstance(error, httpx2.TimeoutException):
        return f"{url} doesn't answer in time. Try again, or check its status page."
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            f"The certificate of {url} can't be verified. If your company has its own authority, "
            "set SSL_CERT_FILE to its certificate."
        )
    return f"{url} can't be reached ({error}). Check the address and your network."


def not_running(sandbox_id: str, seconds: float) -> str:
    """Return a sentence on a launch that took too long."""
    return f"{sandbox_id} was not running after {seconds:g} s."


def not_reset(sandbox_id: str, seconds: float) -> str:
    """Return a sentence on a reset that took too long."""
    return f"{sandbox_id} was not reset after {seconds:g} s. The reset may still complete."


def not_saved(name: str, seconds: float) -> str:
    """Return a sentence on a save that took too long."""
    return f"{name} was not saved after {seconds:g} s. The save may still complete."


def launch(  # noqa: PLR0913 - one for each field
    blueprint: str | None,
    *,
    name: str | None = None,
    ttl_minutes: int | None = None,
    parameters: Mapping[str, str | int | bool] | None = None,
    metadata: Mapping[str, str] | None = None,
    save_point: str | None = None,
    heartbeat_seconds: int | None = None,
    idempotency_key: str,
    wait: float,
) -> Call:
    """Return the launch of a sandbox, whose response comes after `wait` seconds at the latest."""
    given = {
        "blueprint": blueprint,
        "name": name,
        "ttl_minutes": ttl_minutes,
        "parameters": dict(parameters) if parameters else None,
        "metadata": dict(metadata) if metadata else None,
        "save_point": save_point,
        "heartbeat_seconds": heartbeat_seconds,
    }
    extra = {"Idempotency-Key": idempotency_key}
    if wait > 0:
        longest = min(wait, PARTIAL_WAIT_SECONDS)
        if heartbeat_seconds:  # The client sends heartbeats once it has the response.
            longest = min(longest, heartbeat_seconds / BEATS)
        extra["Prefer"] = f"wait={int(longest)}"
    body = {name: value for name, value in given.items() if value is not None}
    return Call(
        "POST", "/sandboxes", body, headers=extra, seconds=REQUEST_SECONDS + PARTIAL_WAIT_SECONDS
    )


def without_waiting(call: Call) -> Call:
    """Return a launch with the same idempotency key whose response comes at once."""
    kept = {name: value for name, value in call.headers.items() if name != "Prefer"}
    return replace(call, headers=kept)


def list_sandboxes(
    states: Iterable[str] = (), metadata: Mapping[str, str] | None = None, cursor: str = ""
) -> Call:
    """Return the request for a page of the user's sandboxes."""
    query = [("limit", str(PAGE_SIZE))]
    query += [("state", state) for state in states]
    query += [(f"metadata[{key}]", value) for key, value in (metadata or {}).items()]
    if cursor:
        query.append(("cursor", cursor))
    return Call("GET", "/sandboxes", query=tuple(query))


def of_sandbox(
    method: str, sandbox_id: str, part: str = "", body: Any = None, **query: str
) -> Call:
    """Return a request about one sandbox."""
    path = f"/sandboxes/{quote(sandbox_id, safe='')}{part}"
    return Call(method, path, body, tuple(query.items()))


def parse(status: int, content_type: str, content: bytes, retry_after: str | None) -> Any:
    """Return the JSON of a response.

    Raises a ProblemError if the portal refused, PortalUnreachable if this isn't its response.
    """
    is_json = "json" in content_type
    try:
        data = json.loads(content) if content and is_json else None
    except ValueError as error:
        raise errors.PortalUnreachable("The portal's response is cut off.") from error
    if status < HTTPStatus.MULTIPLE_CHOICES and is_json:
        return data
    seconds = int(retry_after) if retry_after and retry_after.isdigit() else None
    if isinstance(data, dict) and "detail" in data:
        raise errors.for_status(status)(status, str(data["detail"]), data, seconds)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise errors.Unavailable(status, f"The portal returned {status}.", {}, seconds)
    raise errors.PortalUnreachable(
        f"The address returned {status} and isn't a sandbox portal. Check the address."
    )


def parse_response(response: httpx2.Response) -> Any:
    """Return the JSON of a response that has been read; see `parse`."""
    return parse(
        response.status_code,
        response.headers.get("content-type", ""),
        response.content,
        response.headers.get("retry-after"),
    )


def moment(value: str | None) -> datetime | None:
    """Return a time of the API, in UTC."""
    return datetime.fromisoformat(value) if value else None


class SandboxData:
    """A sandbox as it was when the portal described it last."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        """Everything that the API says about it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """The identifier, such as `sbx_0123456789abcdef`."""
        return str(self.data["id"])

    @property
    def name(self) -> str:
        """The name that its owner gave it, or a generated one."""
        return str(self.data["name"])

    @property
    def blueprint(self) -> str:
        """The name of the blueprint."""
        return str(self.data["blueprint"])

    @property
    def state(self) -> str:
        """`pending`, `provisioning`, `running`, `destroying`, `destroyed` or `failed`."""
        return str(self.data["state"])

    @property
    def is_running(self) -> bool:
        """Whether it can be used."""
        return self.state == "running"

    @property
    def is_launching(self) -> bool:
        """Whether it will be running soon."""
        return self.state in LAUNCHING

    @property
    def is_active(self) -> bool:
        """Whether it is running or will be."""
        return self.is_running or self.is_launching

    @property
    def endpoints(self) -> dict[str, str]:
        """The URLs by the names of the blueprint; empty unless it runs."""
        return {name: url for name, url in self.data["endpoints"].items() if url}

    @property
    def ends_at(self) -> datetime | None:
        """When it ends, without more requests and without an extension."""
        return moment(self.data["ends_at"])

    @property
    def expires_at(self) -> datetime | None:
        """When its lifetime ends."""
        return moment(self.data["expires_at"])

    @property
    def metadata(self) -> dict[str, str]:
        """The pairs that were given at launch."""
        return dict(self.data["metadata"])
