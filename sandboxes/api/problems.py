"""Whatever goes wrong, told as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.responses import NinjaJSONEncoder

from sandboxes.blueprints import BlueprintNotFound
from sandboxes.lib import clock
from sandboxes.lib import exceptions as lib_exceptions

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
DEFAULT_RETRY_AFTER_SECONDS = 30
"""When to ask again where nobody knows better."""

MESSAGES_BY_ERROR_TYPE = {
    "missing": "Give a value.",
    "extra_forbidden": "There is no such field; check its spelling or leave it out.",
    "int_type": "Give a whole number.",
    "int_parsing": "Give a whole number.",
    "string_type": "Give a text.",
    "model_attributes_type": "Give a JSON object.",
    "model_type": "Give a JSON object.",
}


class InvalidToken(Exception):
    """A token came, and it is no good; the message says why."""


class InsufficientScope(Exception):
    """The token is good, but not for this; `needed` is the scope that is."""

    def __init__(self, needed: str, given: str) -> None:
        super().__init__(f"This needs a token of the scope “{needed}”; yours is “{given}”.")
        self.needed = needed


def problem(
    status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any
) -> HttpResponse:
    """The response; `members` join the body or replace what is in it."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JsonResponse(
        body | members,
        encoder=NinjaJSONEncoder,
        status=status,
        headers=headers,
        content_type=CONTENT_TYPE,
    )


def validation_problem(fields: Iterable[tuple[str, str]]) -> HttpResponse:
    """422 for pairs of a field and the remedy."""
    named = [{"field": field, "message": message} for field, message in fields]
    detail = " ".join(f"{error['field']}: {error['message']}" for error in named)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=named)


def _invalid_token(_request: HttpRequest, error: InvalidToken) -> HttpResponse:
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return problem(HTTPStatus.UNAUTHORIZED, str(error), headers=challenge)


def unauthenticated() -> HttpResponse:
    """401 for who brought no token at all."""
    detail = "Send a token as “Authorization: Bearer sbp_…”, or sign in to the portal."
    challenge = {"WWW-Authenticate": "Bearer"}
    return problem(HTTPStatus.UNAUTHORIZED, detail, headers=challenge)


def _insufficient_scope(_request: HttpRequest, error: InsufficientScope) -> HttpResponse:
    challenge = f'Bearer error="insufficient_scope", scope="{error.needed}"'
    return problem(HTTPStatus.FORBIDDEN, str(error), headers={"WWW-Authenticate": challenge})


def _request_invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    return validation_problem(
        (_field_path(found["loc"]), _message(found)) for found in error.errors
    )


def _field_path(location: tuple[Any, ...]) -> str:
    # ("body", name of the argument, field…), or ("query", field, place in a list).
    path = location[2:] if location[0] == "body" else location[1:2]
    return ".".join(str(part) for part in path) or "body"


def _message(found: dict[str, Any]) -> str:
    return MESSAGES_BY_ERROR_TYPE.get(found["type"], f"{found['msg']}.")


def _validation_failed(
    _request: HttpRequest, error: lib_exceptions.ValidationFailed
) -> HttpResponse:
    return validation_problem([(error.field, str(error))])


def _idempotency_key_reused(
    _request: HttpRequest, error: lib_exceptions.IdempotencyKeyReused
) -> HttpResponse:
    return validation_problem([("Idempotency-Key", str(error))])


def _state_conflict(_request: HttpRequest, error: lib_exceptions.StateConflict) -> HttpResponse:
    return problem(HTTPStatus.CONFLICT, str(error))


def _quota_exceeded(_request: HttpRequest, error: lib_exceptions.QuotaExceeded) -> HttpResponse:
    # Fields of draft-ietf-httpapi-ratelimit-headers-10, which the problem type comes from, too.
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


def _rate_limited(_request: HttpRequest, error: lib_exceptions.RateLimited) -> HttpResponse:
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


def _unavailable(_request: HttpRequest, error: lib_exceptions.Unavailable) -> HttpResponse:
    seconds = DEFAULT_RETRY_AFTER_SECONDS
    if error.retry_at:
        seconds = _seconds_until(error.retry_at)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": str(seconds)}
    )


def _database_unreachable(request: HttpRequest, error: OperationalError) -> HttpResponse:
    log.error("database_unreachable", path=request.path, error=str(error))
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The portal can't reach its database now; try again.",
        headers={"Retry-After": str(DEFAULT_RETRY_AFTER_SECONDS)},
    )


def _blueprint_not_found(_request: HttpRequest, _error: BlueprintNotFound) -> HttpResponse:
    detail = "The blueprint of this sandbox is not available now; its operators can say more."
    headers = {"Retry-After": str(DEFAULT_RETRY_AFTER_SECONDS)}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def _http_error(_request: HttpRequest, error: HttpError) -> HttpResponse:
    match error.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return unauthenticated()
        case HTTPStatus.BAD_REQUEST:
            return problem(HTTPStatus.BAD_REQUEST, "The body is no valid JSON; send an object.")
    return problem(error.status_code, str(error))


def not_found(request: HttpRequest, _error: Http404 | None = None) -> HttpResponse:
    """404, for what is another's as for what isn't there at all."""
    return problem(HTTPStatus.NOT_FOUND, f"There is no {request.path}, or it is not yours.")


def _body_too_large(_request: HttpRequest, _error: RequestDataTooBig) -> HttpResponse:
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 2.5 MB.")


def _suspicious(_request: HttpRequest, _error: SuspiciousOperation) -> HttpResponse:
    return problem(HTTPStatus.BAD_REQUEST, "The request is malformed.")


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("api_request_failed", path=request.path, exc_info=error)
    detail = "The portal stumbled over this request; its operators find the reason in the log."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


HANDLERS: dict[type[Exception], Any] = {
    InvalidToken: _invalid_token,
    InsufficientScope: _insufficient_scope,
    ValidationError: _request_invalid,
    lib_exceptions.ValidationFailed: _validation_failed,
    lib_exceptions.IdempotencyKeyReused: _idempotency_key_reused,
    lib_exceptions.StateConflict: _state_conflict,
    lib_exceptions.QuotaExceeded: _quota_exceeded,
    lib_exceptions.RateLimited: _rate_limited,
    lib_exceptions.Unavailable: _unavailable,
    OperationalError: _database_unreachable,
    BlueprintNotFound: _blueprint_not_found,
    HttpError: _http_error,
    Http404: not_found,
    RequestDataTooBig: _body_too_large,
    SuspiciousOperation: _suspicious,
    Exception: _unexpected,
}


def register_handlers(api: NinjaAPI) -> None:
    """Have the API answer with problems."""
    for error, handler in HANDLERS.items():
        api.add_exception_handler(error, handler)
