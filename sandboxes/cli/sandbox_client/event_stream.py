"""The stream of events: what it consists of, and how long to wait before connecting again."""

from __future__ import annotations

import hmac
import json
import random
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx2

from sandbox_client import errors, protocol

READ_SECONDS = 45
"""The portal sends something at least every 15 s; after this time the connection is dead."""
MAX_BACKOFF_SECONDS = 15.0
MAX_REMEMBERED = 2000
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix


@dataclass(frozen=True)
class PortalEvent:
    """An event of the portal, or of a sandbox's own API."""

    id: str
    """The same in every delivery, as the header `webhook-id`."""
    type: str
    """Such as `sandbox.ended`, or what the sandbox's API calls it."""
    source: str
    """`portal` or `sandbox`."""
    sandbox_id: str
    body: str
    """The message, exactly as a webhook has it."""

    @property
    def data(self) -> Any:
        """The message, parsed."""
        return json.loads(self.body)

    def signed_headers(self, secret: str, timestamp: int) -> dict[str, str]:
        """Return the headers of a webhook with this event, as Standard Webhooks defines them."""
        key = b64decode(secret.removeprefix(SECRET_PREFIX))
        signed = f"{self.id}.{timestamp}.{self.body}".encode()
        signature = b64encode(hmac.digest(key, signed, "sha256")).decode()
        return {
            "content-type": "application/json",
            "user-agent": protocol.USER_AGENT,
            "webhook-id": self.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": f"v1,{signature}",
        }


def signing_secret(token: str) -> str:
    """Return the secret that signs forwarded events, which changes only with the token.

    The token can't be computed from it.
    """
    key = hmac.digest(token.encode(), b"sandbox-client: forwarded events", sha256)
    return SECRET_PREFIX + b64encode(key).decode()


class Position:
    """How far a client has read the stream, kept from one connection to the next."""

    def __init__(self, sandbox_id: str | None, replay_minutes: int) -> None:
        self._query = {"sandbox": sandbox_id} if sandbox_id else {}
        if replay_minutes:
            self._query["replay"] = str(replay_minutes)
        self._cursor = ""
        self._seen: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._failures = 0

    @property
    def is_known(self) -> bool:
        """Whether there was a connection already."""
        return bool(self._cursor)

    def request(self) -> dict[str, Any]:
        """Return the arguments of the next request."""
        headers = {"Accept": "text/event-stream"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        timeout = httpx2.Timeout(READ_SECONDS, connect=protocol.CONNECT_SECONDS)
        return {"params": self._query, "headers": headers, "timeout": timeout}

    def backoff(self, error: errors.SandboxError) -> float:
        """Return the seconds to wait after an error, twice as long each time."""
        self._failures += 1
        seconds: float = min(MAX_BACKOFF_SECONDS, 0.25 * 2**self._failures)
        asked = getattr(error, "retry_after", None) or 0
        return max(float(asked), seconds * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def take(self, fields: Mapping[str, str]) -> PortalEvent | None:
        """Take one server-sent event; return it unless it was seen or has another purpose.

        Raises a ProblemError if the portal ends the stream for good.
        """
        self._failures = 0
        kind = fields.get("event", "")
        if kind == "problem":
            told = json.loads(fields["data"])
            raise errors.for_status(told["status"])(told["status"], told["detail"], told)
        event = None
        if kind == "event":
            found = PortalEvent(**json.loads(fields["data"]))
            if found.id not in self._seen:
                self._seen.append(found.id)
                event = found
        # Only now: the position is that after this event.
        self._cursor = fields.get("id", self._cursor)
        return event


def is_final(error: errors.SandboxError) -> bool:
    """Return whether connecting again can't help."""
    if isinstance(error, (errors.LimitReached, errors.Unavailable)):
        return False
    return isinstance(error, errors.ProblemError)


class Parser:
    """A parser of the lines of a `text/event-stream`."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> Iterator[dict[str, str]]:
        """Take a line, and yield the event that it ends."""
        if not line:
            if self._fields:
                yield self._fields
            self._fields = {}
            return
        name, _, value = line.partition(":")
        if name:  # A line that begins with a colon is a comment.
            value = value.removeprefix(" ")
            before = self._fields.get(name)
            self._fields[name] = value if before is None else f"{before}\n{value}"


def address(root: Mapping[str, Any]) -> str:
    """Return the address of the stream, which the root of the API names. Raises Unavailable."""
    if url := root.get("events"):
        return str(url)
    raise errors.Unavailable(
        404, "This portal offers no event stream. Ask its operators to set STREAMS_URL.", {}
    )
