"""The links in mails that work without signing in: signed, each for one purpose.

Whoever holds one may do what it says and nothing else; looking at it does nothing, since mail
scanners open whatever they find.
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
    """Where the sandbox can be kept past this deadline, once."""
    return absolute_url(
        "keep-from-email", f"{warning.pk}:{_keep_alive_signer.signature(_signed_payload(warning))}"
    )


def _signed_payload(warning: SandboxWarning) -> str:
    """What the signature covers. The link names the row alone, so mail programs needn't wrap it."""
    sandbox, act = warning.sandbox, ACTIONS[DeadlineKind(warning.clock)]
    bound = (warning.pk, sandbox.public_id, sandbox.owner_id, act, warning.deadline.isoformat())
    return " ".join(str(part) for part in bound)


def parse_keep_alive_token(token: str) -> SandboxWarning | None:
    """The warning of such a link, if the two still fit together; None for any other text."""
    number, _, signature = token.partition(":")
    if not number.isdecimal() or len(number) > MAX_ID_LENGTH:
        return None
    rows = SandboxWarning.objects.select_related("sandbox__owner").defer("sandbox__secrets")
    warning = rows.filter(pk=number).first()
    if (
        warning is None
        or _unsign(_keep_alive_signer, f"{_signed_payload(warning)}:{signature}") is None
    ):
        return None
    return warning


def unsubscribe_url(user: User, kind: str) -> str:
    """Where this user stops the mails of this kind; it works for as long as mails are kept."""
    return absolute_url("unsubscribe", _unsubscribe_signer.sign(f"{user.pk}.{kind}"))


def parse_unsubscribe_token(token: str) -> tuple[User, DeadlineKind] | None:
    """Whose mails of which kind; None for any text that is no such link's."""
    said = _unsign(_unsubscribe_signer, token)
    if said is None:
        return None
    pk, _, kind = said.partition(".")
    user = get_user_model().objects.filter(pk=pk, is_active=True).first()
    return (user, DeadlineKind(kind)) if user else None


def _unsign(signer: Signer, text: str) -> str | None:
    try:
        return signer.unsign(text)
    except BadSignature:
        return None
