"""What can go wrong between a program and the portal."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any


class SandboxError(Exception):
    """Base class of all errors of this package."""


class NotSignedIn(SandboxError):
    """The portal's address or a token for it is missing."""


class PortalUnreachable(SandboxError):
    """The portal didn't answer, or something else answered in its place."""


class LaunchFailed(SandboxError):
    """A sandbox ended before it was running. `data` is the sandbox as the API describes it."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        told = (data.get("end_message"), data.get("advice"))
        super().__init__(" ".join(filter(None, told)) or f"{data['id']} is {data['state']}.")


class LaunchTimeout(SandboxError):
    """A sandbox is not running yet after the time that the caller allowed."""


class SaveFailed(SandboxError):
    """A sandbox couldn't be saved; nothing has changed."""


class ProblemError(SandboxError):
    """The portal refused a request, with the problem details of RFC 9457.

    `status` is the HTTP status, `detail` a sentence for people, and `members` everything else that
    the portal said, such as `errors` for each invalid field.
    """

    def __init__(
        self, status: int, detail: str, members: Mapping[str, Any], retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members
        self.retry_after = retry_after
        """Seconds after which the same request may succeed, if the portal said so."""


class InvalidToken(ProblemError):
    """The token is invalid, expired or revoked (401)."""


class Forbidden(ProblemError):
    """The scope of the token doesn't allow the request (403)."""


class NotFound(ProblemError):
    """The sandbox doesn't exist, or belongs to another user (404)."""


class Conflict(ProblemError):
    """The state of the sandbox doesn't allow the request (409)."""


class InvalidRequest(ProblemError):
    """A value is invalid (400, 413, 422). `errors` names each field."""

    @property
    def errors(self) -> list[dict[str, str]]:
        """The invalid fields, each with `field` and `message`."""
        return list(self.members.get("errors", ()))


class LimitReached(ProblemError):
    """A quota or a rate limit is reached (429). `retry_after` is the estimated wait in seconds."""


class Unavailable(ProblemError):
    """The portal can't do this now, for example during maintenance (5xx)."""


BY_STATUS: dict[int, type[ProblemError]] = {
    400: InvalidRequest,
    401: InvalidToken,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    422: InvalidRequest,
    429: LimitReached,
}


def for_status(status: int) -> type[ProblemError]:
    """Return the class of the errors with an HTTP status."""
    other = Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ProblemError
    return BY_STATUS.get(status, other)
