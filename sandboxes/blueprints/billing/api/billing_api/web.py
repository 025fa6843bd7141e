"""Operations, their calls and responses, and problems that handlers raise."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .cycle.clock import LockMode
from .database import Cursor

MAX_BODY_BYTES = 64 * 1024
"""Maximum size of a request body, in bytes."""

Headers = list[tuple[str, str]]


class FieldError(Struct):
    """An invalid field of the body or query."""

    field: str
    message: str


class ProblemDetails(Struct):
    """Problem details (RFC 9457); ``errors`` names the invalid fields of a 422."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | UnsetType = UNSET


class Response(Struct):
    """An HTTP response; ``file`` is the path of a file to send instead of ``body``."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Headers = []
    file: str = ""


class Problem(Exception):
    """An error response."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        headers: Headers | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or []

    def response(self) -> Response:
        """Return the problem as ``application/problem+json``."""
        title, errors = HTTPStatus(self.status).phrase, [*self.errors] or UNSET
        details = ProblemDetails("about:blank", title, self.status, self.detail, errors)
        body = msgspec.json.encode(details)
        return Response(self.status, body, "application/problem+json", self.headers)


class NothingYet(Exception):
    """There is nothing to return now; a request that waits looks again."""


def status_line(status: int) -> str:
    """Return a status with its reason phrase, as in an HTTP status line."""
    return f"{status} {HTTPStatus(status).phrase}"


def invalid(field: str, message: str) -> Problem:
    """Return a 422 problem that names the field."""
    return Problem(422, f"{field}: {message}", (FieldError(field, message),))


def conflict(detail: str) -> Problem:
    """Return a 409 problem: the request is valid, but conflicts with the current state."""
    return Problem(409, detail)


def unavailable(detail: str) -> Problem:
    """Return a 503 problem with `Retry-After`."""
    return Problem(503, detail, headers=[("Retry-After", "1")])


class Call(Struct):
    """One validated call of an operation, within its transaction.

    ``key`` is the API key of the sandbox, from which secrets are derived, and
    ``stellar_address`` the account of the sandbox on Stellar's network, if it has one. If the call
    ``may_wait``, a handler that has nothing to return may raise NothingYet.
    """

    cursor: Cursor
    id: str
    body: Any
    query: Any
    key: bytes = b""
    may_wait: bool = False
    stellar_address: str = ""


class Operation(Struct, frozen=True):
    """One method of one path, used by the router, the parser and the OpenAPI document.

    ``body`` and ``query`` are the structs of the request, and ``result`` is the type that
    ``handle`` returns. ``body_required`` is False if every field of the body has a default.
    ``clock_lock`` is how an operation that writes locks the clock of the sandbox.
    Generated clients name a method after ``id``.
    """

    id: str
    method: str
    path: str
    summary: str
    handle: Callable[[Call], Any]
    result: Any
    body: Any = None
    query: Any = None
    status: int = 200
    body_required: bool = True
    clock_lock: LockMode = "shared"

    @property
    def tag(self) -> str:
        """The resource: the part of the path after the version."""
        return self.path.split("/")[2]
