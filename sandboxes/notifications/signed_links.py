"""Signed links in emails, which work without signing in.

Each link grants exactly one action. A GET request changes nothing, because mail scanners open
links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.signing import BadSignature, Signer
from django.urls import reverse

from sandboxes.models import DeadlineKind, SandboxWarning

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_ID_LENGTH = 18
ACTIONS = {DeadlineKind.IDLE: "touch", DeadlineKind.EXPIRED: "extend"}

_keep_alive_signer = Signer(salt="sandboxes.rescue")
_unsubscribe_signer = Signer(salt="sandboxes.unsubscribe")


def absolute_url(name: str, *args: object) -> str:
    return f"{settings.SITE_URL}{reverse(name, args=args)}"


def keep_alive_url(warning: SandboxWarning) -> str:
    """Return the one-time link that keeps the sandbox past this deadline."""
    return absolute_url(
        "keep-from-email", f"{warning.pk}:{_keep_alive_signer.signature(_signed_payload(warning))}"
    )


def _signed_payload(warning: SandboxWarning) -> str:
    """Return the signed text. The link itself has only the id, so that it stays short."""
    sandbox, action = warning.sandbox, ACTIONS[DeadlineKind(warning.deadline_kind)]
    parts = (warning.pk, sandbox.public_id, sandbox.owner_id, action, warning.deadline.isoformat())
    return " ".join(str(part) for part in parts)


def parse_keep_alive_token(token: str) -> SandboxWarning | None:
    """Return the warning of a link; None if the signature doesn't match."""
    pk, _, signature = token.partition(":")
    if not (pk.isascii() and pk.isdecimal()) or len(pk) > MAX_ID_LENGTH:
        return None
    rows = SandboxWarning.objects.select_related("sandbox__owner").defer("sandbox__secrets")
    warning = rows.filter(pk=pk).first()
    if (
        warning is None
        or _unsign(_keep_alive_signer, f"{_signed_payload(warning)}:{signature}") is None
    ):
        return None
    return warning


def unsubscribe_url(user: User, kind: str) -> str:
    """Return the link that unsubscribes a user from one kind of email; it doesn't expire."""
    return absolute_url("unsubscribe", _unsubscribe_signer.sign(f"{user.pk}.{kind}"))


def parse_unsubscribe_token(token: str) -> tuple[User, DeadlineKind] | None:
    """Return the user and kind of an unsubscribe link; None if it is invalid."""
    payload = _unsign(_unsubscribe_signer, token)
    if payload is None:
        return None
    pk, _, kind = payload.partition(".")
    user = get_user_model().objects.filter(pk=pk, is_active=True).first()
    return (user, DeadlineKind(kind)) if user else None


def _unsign(signer: Signer, text: str) -> str | None:
    try:
        return signer.unsign(text)
    except BadSignature:
        return None
