"""API tokens: issue, authenticate and revoke. Only their hash is stored.

A token is `sbp_`, 30 random base62 characters (178 bits), and the CRC32 of both in base62, so that
secret scanners can recognize it (as in GitHub's token format of 2021).
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zlib import crc32

from sandboxes.lib import clock
from sandboxes.models import ApiToken, IdentityRule, Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "sbp_"
BODY_LENGTH = 30
LAST_USED_PRECISION = timedelta(minutes=1)
"""How often the use of a token is recorded at most."""


def _checksum(body: str) -> str:
    number, digits = crc32((PREFIX + body).encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def is_well_formed(token: str) -> bool:
    """Return whether the text has the format and the check digits of a token."""
    body, checksum = token[len(PREFIX) : -6], token[-6:]
    return token.startswith(PREFIX) and len(body) == BODY_LENGTH and _checksum(body) == checksum


def issue(
    user: User,
    name: str,
    scope: str = Scope.ALL,
    expires_at: datetime | None = None,
    rule: IdentityRule | None = None,
) -> tuple[ApiToken, str]:
    """Create a token, and return it with its text, which can't be read again later.

    `rule` is the one by which a CI job gets it.
    """
    body = "".join(secrets.choice(ALPHABET) for _ in range(BODY_LENGTH))
    text = PREFIX + body + _checksum(body)
    row = ApiToken.objects.create(
        user=user,
        name=name,
        scope=scope,
        expires_at=expires_at,
        identity_rule=rule,
        prefix=text[:8],
        digest=_digest(text),
    )
    return row, text


def authenticate(text: str) -> ApiToken | None:
    """Return the valid token with this text and record its use, or return None."""
    return authenticate_all([text]).get(text)


def authenticate_all(texts: Iterable[str]) -> dict[str, ApiToken]:
    """Return the valid tokens among these by their text, and record their use."""
    by_digest = {_digest(text): text for text in texts if is_well_formed(text)}
    if not by_digest:
        return {}
    now = clock.now()
    usable = ApiToken.objects.usable(now).select_related("user").filter(digest__in=by_digest)
    found = {by_digest[token.digest]: token for token in usable}
    unused = [
        token.pk
        for token in found.values()
        if token.last_used_at is None or abs(now - token.last_used_at) > LAST_USED_PRECISION
    ]
    if unused:
        ApiToken.objects.filter(pk__in=unused).update(last_used_at=now)
    return found


def revoke_all_of(rule: IdentityRule) -> None:
    """Revoke the tokens that jobs have by this rule."""
    ApiToken.objects.filter(identity_rule=rule, revoked_at=None).update(revoked_at=clock.now())


def revoke_all(user: User) -> None:
    """Revoke all tokens of the user."""
    ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=clock.now())


def revoke(token: ApiToken) -> None:
    """Revoke the token. Its row stays as a record."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now())
