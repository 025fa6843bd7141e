"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.responses import NinjaJSONEncoder

from sandboxes.blueprints import BlueprintNotFound
from sandboxes.lib import clock, exceptions, support
from sandboxes.lib.database_errors import unavailable_reason

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
DEFAULT_RETRY_AFTER_SECONDS = 30
"""`Retry-After` of errors that don't know when a retry would work."""

HELP = {
    401: "/docs/api/#authentication",
    403: "/docs/api/#authentication",
    429: "/docs/troubleshooting/#limits",
}
"""The section of the documentation that helps, by status; other statuses have “Errors”."""

MESSAGES_BY_ERROR_TYPE = {
    "missing": "Required.",
    "extra_forbidden": "Unknown field.",
    "int_type": "Must be an integer.",
    "int_parsing": "Must be an integer.",
    "string_type": "Must be a string.",
    "model_attributes_type": "Must be a JSON object.",
    "model_type": "Must be a JSON object.",
}


class InvalidToken(Exception):
    """The token is invalid, expired or revoked."""

    def __init__(self) -> None:
        super().__init__("Invalid, expired, or revoked token. Create a new one.")


class InsufficientScope(Exception):
    """The token is valid, but its scope doesn't allow the operation."""

    def __init__(self, required: str, actual: str) -> None:
        super().__init__(f"This requires a token with scope “{required}”; yours has “{actual}”.")
        self.required = required


def problem(
    status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any
) -> HttpResponse:
    """Return a problem response; `members` are added to the body or replace its fields."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    link = f'<{HELP.get(status, "/docs/api/#errors")}>; rel="help"'
    return JsonResponse(
        body | members,
        encoder=NinjaJSONEncoder,
        status=status,
        headers={"Link": link, **(headers or {})},
        content_type=CONTENT_TYPE,
    )


def validation_problem(fields: Iterable[tuple[str, str]]) -> HttpResponse:
    """Return a 422 response for pairs of a field and a message."""
    errors = [{"field": field, "message": message} for field, message in fields]
    detail = " ".join(f"{error['field']}: {error['message']}" for error in errors)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def invalid_token(_request: HttpRequest, error: InvalidToken) -> HttpResponse:
    """Return a 401 response for a token that is invalid, expired or revoked."""
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return problem(HTTPStatus.UNAUTHORIZED, str(error), headers=challenge)


def unauthenticated() -> HttpResponse:
    """Return a 401 response for a request without a token."""
    detail = "Send an API token as “Authorization: Bearer sbp_…”, or sign in to the portal."
    challenge = {"WWW-Authenticate": "Bearer"}
    return problem(HTTPStatus.UNAUTHORIZED, detail, headers=challenge)


def _insufficient_scope(_request: HttpRequest, error: InsufficientScope) -> HttpResponse:
    challenge = f'Bearer error="insufficient_scope", scope="{error.required}"'
    return problem(HTTPStatus.FORBIDDEN, str(error), headers={"WWW-Authenticate": challenge})


def _request_invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    return validation_problem(
        (_field_path(detail["loc"]), _message(detail)) for detail in error.errors
    )


def _field_path(location: tuple[Any, ...]) -> str:
    # ("body", name of the argument, field…), or ("query", field, index in a list).
    path = location[2:] if location[0] == "body" else location[1:2]
    return ".".join(str(part) for part in path) or "body"


def _message(error: dict[str, Any]) -> str:
    return MESSAGES_BY_ERROR_TYPE.get(error["type"], f"{error['msg']}.")


def _validation_failed(_request: HttpRequest, error: exceptions.ValidationFailed) -> HttpResponse:
    return validation_problem(error.errors)


def _idempotency_key_reused(
    _request: HttpRequest, error: exceptions.IdempotencyKeyReused
) -> HttpResponse:
    return validation_problem([("Idempotency-Key", str(error))])


def _state_conflict(_request: HttpRequest, error: exceptions.StateConflict) -> HttpResponse:
    return problem(HTTPStatus.CONFLICT, str(error))


def _quota_exceeded(_request: HttpRequest, error: exceptions.QuotaExceeded) -> HttpResponse:
    # Headers and problem type of draft-ietf-httpapi-ratelimit-headers-10.
    policy = f"sandboxes-of-{error.scope}"
    return problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        str(error),
        headers={
            "Retry-After": str(error.wait_seconds),
            "RateLimit-Policy": f'"{policy}";q={error.limit}',
            "RateLimit": f'"{policy}";r=0;t={error.wait_seconds}',
        },
        type=QUOTA_EXCEEDED,
        title="Quota exceeded",
        estimated_wait_seconds=error.wait_seconds,
        retry_at=error.retry_at,
        limit=error.limit,
        active=error.active,
        frees_first=error.frees_first,
        **{"violated-policies": [policy]},
    )


def rate_limited(_request: HttpRequest, error: exceptions.RateLimited) -> HttpResponse:
    """Return a 429 response for too many requests in a period."""
    seconds = _seconds_until(error.retry_at)
    return problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        str(error),
        headers={
            "Retry-After": str(seconds),
            "RateLimit-Policy": f'"{error.policy}";q={error.limit};w={error.window_seconds}',
            "RateLimit": f'"{error.policy}";r=0;t={seconds}',
        },
        type=QUOTA_EXCEEDED,
        title="Quota exceeded",
        estimated_wait_seconds=seconds,
        retry_at=error.retry_at,
        limit=error.limit,
        **{"violated-policies": [error.policy]},
    )


def _seconds_until(moment: datetime) -> int:
    return max(1, ceil((moment - clock.now()).total_seconds()))


def _unavailable(_request: HttpRequest, error: exceptions.Unavailable) -> HttpResponse:
    seconds = DEFAULT_RETRY_AFTER_SECONDS
    if error.retry_at:
        seconds = _seconds_until(error.retry_at)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": str(seconds)}
    )


def database_unavailable(request: HttpRequest, error: BaseException) -> HttpResponse:
    """Return a 503 response that says what is wrong with the database."""
    log.error("database_unavailable", path=request.path, error=str(error))
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"{unavailable_reason(error)} Try again shortly.",
        headers={"Retry-After": str(DEFAULT_RETRY_AFTER_SECONDS)},
    )


def _blueprint_not_found(_request: HttpRequest, _error: BlueprintNotFound) -> HttpResponse:
    detail = f"The blueprint of this sandbox isn't available. Contact {support.administrator()}."
    headers = {"Retry-After": str(DEFAULT_RETRY_AFTER_SECONDS)}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def _http_error(_request: HttpRequest, error: HttpError) -> HttpResponse:
    match error.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return unauthenticated()
        case HTTPStatus.BAD_REQUEST:
            return problem(HTTPStatus.BAD_REQUEST, "The body must be a valid JSON object.")
    return problem(error.status_code, str(error))


def not_found(
    request: HttpRequest, _error: Http404 | None = None, *, hint: str = ""
) -> HttpResponse:
    """Return a 404 response, the same for missing objects and those of other users."""
    detail = f"{request.path} not found, or not yours. {hint}".rstrip()
    return problem(HTTPStatus.NOT_FOUND, detail)


def _body_too_large(_request: HttpRequest, _error: RequestDataTooBig) -> HttpResponse:
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 2.5 MB.")


def _suspicious(_request: HttpRequest, _error: SuspiciousOperation) -> HttpResponse:
    return problem(HTTPStatus.BAD_REQUEST, "The request is malformed.")


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("api_request_failed", path=request.path, exc_info=error)
    detail = "Internal error. It has been logged."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


HANDLERS: dict[type[Exception], Any] = {
    InvalidToken: invalid_token,
    InsufficientScope: _insufficient_scope,
    ValidationError: _request_invalid,
    exceptions.ValidationFailed: _validation_failed,
    exceptions.IdempotencyKeyReused: _idempotency_key_reused,
    exceptions.StateConflict: _state_conflict,
    exceptions.QuotaExceeded: _quota_exceeded,
    exceptions.RateLimited: rate_limited,
    exceptions.Unavailable: _unavailable,
    OperationalError: database_unavailable,
    InterfaceError: database_unavailable,
    BlueprintNotFound: _blueprint_not_found,
    HttpError: _http_error,
    Http404: not_found,
    RequestDataTooBig: _body_too_large,
    SuspiciousOperation: _suspicious,
    Exception: _unexpected,
}


def register_handlers(api: NinjaAPI) -> None:
    """Make the API respond to these exceptions with problems."""
    for error, handler in HANDLERS.items():
        api.add_exception_handler(error, handler)
