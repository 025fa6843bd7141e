"""Exchange the identity token of a CI job for an API token, by an operator's rule (RFC 8693).

So CI systems store no secret: their OpenID Connect issuer signs a token for each job.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import structlog
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from sandboxes.accounts import api_tokens
from sandboxes.accounts.grants import AuthorizationError, TooManyAttempts, count, issuer_keys
from sandboxes.accounts.grants.issuer_keys import IssuerUnavailable
from sandboxes.lib import clock
from sandboxes.models import IdentityRule, Scope, UsedIdentityToken

__all__ = ["Exchanged", "IssuerUnavailable", "exchange"]

log = structlog.get_logger(__name__)

ALGORITHMS = ("RS256", "ES256")
REQUIRED_CLAIMS = ("iss", "aud", "exp", "iat", "jti")
LEEWAY = timedelta(seconds=30)
MAX_VALIDITY = timedelta(days=1)
"""How far the expiry of a token may be: used ones are remembered until then."""
MAX_LENGTH = 16_000
REQUESTS = "300/5m/ip"
INVALID = "invalid_grant"


@dataclass(frozen=True)
class Exchanged:
    """The text of an API token, its scope and its lifetime."""

    text: str
    scope: str
    lifetime: timedelta


def exchange(request: HttpRequest, identity_token: str, scope: str = "") -> Exchanged:
    """Return an API token for the account of the rule that accepts the identity token.

    Raises AuthorizationError, TooManyAttempts, IssuerUnavailable.
    """
    if not count(request, "identity_tokens", REQUESTS):
        raise TooManyAttempts
    issuer, key_id = _read_unverified(identity_token)
    rules = list(IdentityRule.objects.in_force().filter(issuer=issuer).order_by("pk"))
    if not rules:
        raise AuthorizationError(INVALID, f"No rule of this portal trusts the issuer {issuer}.")
    claims = _verify(identity_token, issuer, key_id)
    rule = next((rule for rule in rules if rule.accepts(claims)), None)
    if rule is None:
        log.info("identity_token_refused", issuer=issuer, subject=str(claims.get("sub"))[:200])
        raise AuthorizationError(
            INVALID,
            "The token is valid, but no rule accepts its audience and claims. Ask an operator.",
        )
    return _issue(rule, claims, _narrowed(rule.scope, scope))


def _read_unverified(token: str) -> tuple[str, str]:
    """Return issuer and key id. Only a lookup: the signature is verified afterwards."""
    if len(token) > MAX_LENGTH:
        raise AuthorizationError(INVALID, "The identity token is too long.")
    try:
        header = jwt.get_unverified_header(token)
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise AuthorizationError(INVALID, "The identity token isn't a JWT.") from None
    if header.get("alg") not in ALGORITHMS:
        raise AuthorizationError(
            INVALID, f"The identity token must be signed with {' or '.join(ALGORITHMS)}."
        )
    return str(issuer)[:200], str(header.get("kid", ""))


def _verify(token: str, issuer: str, key_id: str) -> dict[str, Any]:
    key = issuer_keys.find(issuer, key_id)
    if key is None:
        raise AuthorizationError(INVALID, f"{issuer} has no key for this token.")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            issuer=issuer,
            leeway=LEEWAY,
            # The rules have different audiences; each compares its own.
            options={"require": list(REQUIRED_CLAIMS), "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError) as error:
        raise AuthorizationError(INVALID, f"The identity token isn't valid: {error}.") from None
    if _expiry(claims) - clock.now() > MAX_VALIDITY:
        raise AuthorizationError(INVALID, "The identity token is valid for more than a day.")
    return claims


def _expiry(claims: dict[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (OverflowError, OSError, ValueError):
        raise AuthorizationError(INVALID, "The identity token has no valid expiry.") from None


def _narrowed(allowed: str, wanted: str) -> str:
    """Return the scope of the token, which may be smaller than that of the rule."""
    order = list(Scope.values)
    if wanted and wanted not in order:
        raise AuthorizationError("invalid_scope", f"Use one of {', '.join(order)}.")
    if wanted and order.index(wanted) > order.index(allowed):
        raise AuthorizationError("invalid_scope", f"The rule allows the scope {allowed} at most.")
    return wanted or allowed


def _issue(rule: IdentityRule, claims: dict[str, Any], scope: str) -> Exchanged:
    digest = hashlib.sha256(f"{rule.issuer}\n{claims['jti']}".encode()).hexdigest()
    now = clock.now()
    UsedIdentityToken.objects.filter(expires_at__lt=now).delete()
    try:
        with transaction.atomic():
            UsedIdentityToken.objects.create(digest=digest, expires_at=_expiry(claims) + LEEWAY)
            token, text = api_tokens.issue(
                rule.user, f"CI: {rule.name}", scope, now + rule.token_lifetime, rule
            )
            IdentityRule.objects.filter(pk=rule.pk).update(last_used_at=now)
    except IntegrityError:
        raise AuthorizationError(
            INVALID, "The identity token was exchanged before. Each one is accepted once."
        ) from None
    log.info(
        "identity_token_exchanged",
        rule=rule.pk,
        token=token.prefix,
        subject=str(claims.get("sub"))[:200],
    )
    return Exchanged(text, scope, rule.token_lifetime)
