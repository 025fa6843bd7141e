"""Sign in a client without a browser, by the device authorization grant of RFC 8628.

The client shows a user code and polls with a device code. A signed-in user enters the user code,
and approves or denies the request. A device code is stored as a hash and yields one token.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from sandboxes.accounts import api_tokens
from sandboxes.accounts.grants import AuthorizationError, TooManyAttempts, count
from sandboxes.lib import clock
from sandboxes.models import DeviceAuthorization, Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)

CLIENT_ID = "sandbox-client"
USER_CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels and digits: no words, and nothing to confuse (RFC 8628, section 6.1)."""
USER_CODE_LENGTH = 8
SLOW_DOWN_SECONDS = 5
MAX_INTERVAL_SECONDS = 60
TOKEN_LIFETIME = timedelta(days=90)
MAX_DEVICE_NAME_LENGTH = 40
REQUESTS = "20/5m/ip"
WRONG_USER_CODES = "10/5m/key"
"""For each user. A code has 34 bits, so that so few guesses practically never find one."""


def start(
    request: HttpRequest, client_id: str, scope: str, device_name: str
) -> tuple[DeviceAuthorization, str]:
    """Create a request, and return it with its device code, which can't be read again later.

    Raises AuthorizationError, TooManyAttempts.
    """
    _require_client(client_id)
    if scope not in Scope.values:
        raise AuthorizationError("invalid_scope", f"Use one of {', '.join(Scope.values)}.")
    if not count(request, "device_requests", REQUESTS):
        raise TooManyAttempts
    device_code = secrets.token_urlsafe(32)
    row = _create_with_user_code(
        device_code_digest=_digest(device_code),
        scope=scope,
        device_name=_printable(device_name),
        address=request.META.get("REMOTE_ADDR") or None,
    )
    return row, device_code


def _create_with_user_code(**values: object) -> DeviceAuthorization:
    while True:
        code = "".join(secrets.choice(USER_CODE_ALPHABET) for _ in range(USER_CODE_LENGTH))
        try:
            with transaction.atomic():
                return DeviceAuthorization.objects.create(user_code=code, **values)
        except IntegrityError:
            if not DeviceAuthorization.objects.filter(user_code=code).exists():
                raise


def find(request: HttpRequest, user: User, user_code: str) -> DeviceAuthorization | None:
    """Return the open request with this user code, as a user typed it; None if there is none.

    Raises TooManyAttempts.
    """
    code = re.sub(r"[^A-Z]", "", user_code.upper())
    # Counted before the code is looked up, and not counted if it is right.
    attempt = count(request, "device_user_codes", WRONG_USER_CODES, str(user.pk))
    if not attempt:
        raise TooManyAttempts
    row = DeviceAuthorization.objects.open(clock.now()).filter(user_code=code).first()
    if row:
        attempt.rollback()
    return row


def decide(row: DeviceAuthorization, user: User, *, approve: bool) -> bool:
    """Approve or deny the request; return False if it isn't open any more."""
    decisions = DeviceAuthorization.Decision
    decision = decisions.APPROVED if approve else decisions.DENIED
    decided = (
        DeviceAuthorization.objects.open(clock.now())
        .filter(pk=row.pk)
        .update(decision=decision, user=user)
    )
    if decided:
        log.info("device_authorization_decided", decision=decision, user=user.pk, scope=row.scope)
    return bool(decided)


def poll(client_id: str, device_code: str) -> tuple[str, str]:
    """Return the token of an approved request and its scope, once.

    Raises AuthorizationError.
    """
    _require_client(client_id)
    with transaction.atomic():
        rows = DeviceAuthorization.objects.select_for_update()
        row = rows.filter(device_code_digest=_digest(device_code)).first()
        if row is None:
            raise AuthorizationError("invalid_grant", "Unknown device code, or already used.")
        if not (refusal := _refusal(row)):
            row.delete()
            return _issue_token(row), row.scope
    # Outside the transaction, which stores that the client polled.
    raise refusal


def _issue_token(row: DeviceAuthorization) -> str:
    assert row.user
    expires_at = clock.now() + TOKEN_LIFETIME
    token, text = api_tokens.issue(row.user, row.token_name, row.scope, expires_at)
    log.info("device_token_issued", user=row.user.pk, token=token.prefix)
    return text


def _refusal(row: DeviceAuthorization) -> AuthorizationError | None:
    now = clock.now()
    if row.expires_at <= now:
        return AuthorizationError("expired_token", "The code has expired. Start again.")
    if row.decision == DeviceAuthorization.Decision.DENIED:
        return AuthorizationError("access_denied", "The user denied the request.")
    is_early = row.polled_at and now - row.polled_at < timedelta(seconds=row.interval_seconds)
    row.polled_at = now
    if is_early:
        row.interval_seconds = min(row.interval_seconds + SLOW_DOWN_SECONDS, MAX_INTERVAL_SECONDS)
    row.save(update_fields=["polled_at", "interval_seconds"])
    if is_early:
        return AuthorizationError("slow_down", f"Poll every {row.interval_seconds} s at most.")
    if row.decision != DeviceAuthorization.Decision.APPROVED:
        return AuthorizationError("authorization_pending", "The user has not decided yet.")
    if row.user is None or not row.user.is_active:
        return AuthorizationError("access_denied", "The user's account is suspended.")
    return None


def _require_client(client_id: str) -> None:
    if client_id != CLIENT_ID:
        raise AuthorizationError("invalid_client", f"Use client_id={CLIENT_ID}.")


def _digest(device_code: str) -> str:
    return hashlib.sha256(device_code.encode()).hexdigest()


def _printable(name: str) -> str:
    """Return a host name that can't change how a page or the list of tokens reads."""
    return re.sub(r"[^A-Za-z0-9._-]", "", name)[:MAX_DEVICE_NAME_LENGTH]
