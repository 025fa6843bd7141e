"""What a handler is given and gives back, and the problems it may raise."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from msgspec import Struct

from .database import Cursor

MAX_BODY_BYTES = 64 * 1024
"""Bytes that the body of a request may have."""

Headers = list[tuple[str, str]]


class FieldError(Struct):
    """One field of the body or the query that can't be taken as it is."""

    field: str
    message: str


class ProblemDetails(Struct, omit_defaults=True):
    """What went wrong (RFC 9457); ``errors`` names the fields of a 422."""

    title: str
    status: int
    detail: str
    type: Literal["about:blank"] = msgspec.field(default="about:blank")
    errors: list[FieldError] = []


class Response(Struct):
    """An answer; ``file`` is the path of a file that is sent in place of ``body``."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Headers = []
    file: str = ""


class Problem(Exception):
    """An answer that isn't what the client hoped for."""

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
        """The problem as ``application/problem+json``."""
        details = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            details["errors"] = self.errors
        body = msgspec.json.encode(details)
        return Response(self.status, body, "application/problem+json", self.headers)


def status_line(status: int) -> str:
    """A status as HTTP's first line has it."""
    return f"{status} {HTTPStatus(status).phrase}"


def invalid(field: str, message: str) -> Problem:
    """A 422 that names the field."""
    return Problem(422, f"{field}: {message}", (FieldError(field, message),))


def conflict(detail: str) -> Problem:
    """A 409: the request is sound, but not in the state that the thing is in."""
    return Problem(409, detail)


class Call(Struct):
    """One request to an operation, checked and inside its transaction."""

    cursor: Cursor
    id: str
    body: Any
    query: Any


class Operation(Struct, frozen=True):
    """One method of one path. The router, the checks and the specification all read it.

    ``body`` and ``query`` are structs that the request must fit; ``answer`` is the type of
    what ``handle`` returns; ``body_required`` is False where every field has a default.
    """

    method: str
    path: str
    summary: str
    handle: Callable[[Call], Any]
    result: Any
    body: Any = None
    query: Any = None
    status: int = 200
    description: str = ""
    body_required: bool = True

    @property
    def tag(self) -> str:
        """The resource: the path's part after the version."""
        return self.path.split("/")[2]
