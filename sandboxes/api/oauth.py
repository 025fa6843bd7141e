"""The endpoints of RFC 8628 and RFC 8693: form requests, JSON responses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from sandboxes.accounts.grants import (
    AuthorizationError,
    TooManyAttempts,
    device_authorization,
    identity_tokens,
)
from sandboxes.accounts.grants.identity_tokens import IssuerUnavailable
from sandboxes.lib import clock
from sandboxes.models import Scope

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN_TYPES = {
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:jwt",
}
ISSUED_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
RETRY_SECONDS = 60

View = Callable[[HttpRequest], HttpResponse]


def _oauth_endpoint(view: View) -> View:
    @csrf_exempt
    @require_POST
    @wraps(view)
    def wrapper(request: HttpRequest, **_: object) -> HttpResponse:
        try:
            return view(request)
        except AuthorizationError as error:
            body = {"error": error.code, "error_description": error.description}
            return JsonResponse(body, status=HTTPStatus.BAD_REQUEST)
        except IssuerUnavailable as error:
            body = {"error": "temporarily_unavailable", "error_description": str(error)}
            return JsonResponse(
                body,
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        except TooManyAttempts:
            body = {"error": "slow_down", "error_description": "Too many requests. Try later."}
            return JsonResponse(
                body,
                status=HTTPStatus.TOO_MANY_REQUESTS,
                headers={"Retry-After": str(RETRY_SECONDS)},
            )

    return wrapper


def _field(request: HttpRequest, name: str) -> str:
    """Return a field of the form. Raises AuthorizationError if it is missing or repeated."""
    match request.POST.getlist(name):
        case [value] if value:
            return str(value)
        case _:
            description = f"Send {name} once, in a form (application/x-www-form-urlencoded)."
            raise AuthorizationError("invalid_request", description)


@_oauth_endpoint
def device_authorization_endpoint(request: HttpRequest) -> HttpResponse:
    """Start a sign-in, and return the codes and where the user enters theirs."""
    row, device_code = device_authorization.start(
        request,
        _field(request, "client_id"),
        request.POST.get("scope", Scope.READ),
        request.POST.get("device_name", ""),
    )
    page = request.build_absolute_uri(reverse("device"))
    return JsonResponse(
        {
            "device_code": device_code,
            "user_code": row.displayed_user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={row.displayed_user_code}",
            "expires_in": int((row.expires_at - clock.now()).total_seconds()),
            "interval": row.interval_seconds,
        }
    )


@_oauth_endpoint
def token_endpoint(request: HttpRequest) -> HttpResponse:
    """Return the token of an approved sign-in, or one for the identity token of a CI job."""
    grant = _field(request, "grant_type")
    if grant == DEVICE_GRANT:
        return _device_token(request)
    if grant == EXCHANGE_GRANT:
        return _exchanged_token(request)
    raise AuthorizationError(
        "unsupported_grant_type", f"Use grant_type={DEVICE_GRANT} or {EXCHANGE_GRANT}."
    )


def _device_token(request: HttpRequest) -> HttpResponse:
    token, scope = device_authorization.poll(
        _field(request, "client_id"), _field(request, "device_code")
    )
    return _token_response(token, scope, device_authorization.TOKEN_LIFETIME)


def _exchanged_token(request: HttpRequest) -> HttpResponse:
    if _field(request, "subject_token_type") not in TOKEN_TYPES:
        types = " or ".join(sorted(TOKEN_TYPES))
        raise AuthorizationError("invalid_request", f"Use subject_token_type={types}.")
    made = identity_tokens.exchange(
        request, _field(request, "subject_token"), request.POST.get("scope", "")
    )
    return _token_response(
        made.text, made.scope, made.lifetime, issued_token_type=ISSUED_TOKEN_TYPE
    )


def _token_response(token: str, scope: str, lifetime: timedelta, **more: str) -> HttpResponse:
    return JsonResponse(
        {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(lifetime.total_seconds()),
            "scope": scope,
            **more,
        }
    )
