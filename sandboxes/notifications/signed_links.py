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

from sandboxes.models import Clock, SandboxWarning

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LONGEST_NUMBER = 18
ACTS = {Clock.IDLE: "touch", Clock.EXPIRED: "extend"}

_rescue = Signer(salt="sandboxes.rescue")
_unsubscribe = Signer(salt="sandboxes.unsubscribe")


def absolute(name: str, *args: object) -> str:
    return f"{settings.SITE_URL}{reverse(name, args=args)}"


def rescue_url(warning: SandboxWarning) -> str:
    """Where the sandbox can be kept past this deadline, once."""
    return absolute("keep-from-email", f"{warning.pk}:{_rescue.signature(_bound_to(warning))}")


def _bound_to(warning: SandboxWarning) -> str:
    """What the signature covers. The link names the row alone, so mail programs needn't wrap it."""
    sandbox, act = warning.sandbox, ACTS[Clock(warning.clock)]
    bound = (warning.pk, sandbox.public_id, sandbox.owner_id, act, warning.deadline.isoformat())
    return " ".join(str(part) for part in bound)


def read_rescue(token: str) -> SandboxWarning | None:
    """The warning of such a link, if the two still fit together; None for any other text."""
    number, _, signature = token.partition(":")
    if not number.isdecimal() or len(number) > LONGEST_NUMBER:
        return None
    rows = SandboxWarning.objects.select_related("sandbox__owner").defer("sandbox__secrets")
    warning = rows.filter(pk=number).first()
    if warning is None or _unsigned(_rescue, f"{_bound_to(warning)}:{signature}") is None:
        return None
    return warning


def unsubscribe_url(user: User, clock_name: str) -> str:
    """Where this user stops the mails of this kind; it works for as long as mails are kept."""
    return absolute("unsubscribe", _unsubscribe.sign(f"{user.pk}.{clock_name}"))


def read_unsubscribe(token: str) -> tuple[User, Clock] | None:
    """Whose mails of which kind; None for any text that is no such link's."""
    said = _unsigned(_unsubscribe, token)
    if said is None:
        return None
    pk, _, clock_name = said.partition(".")
    user = get_user_model().objects.filter(pk=pk, is_active=True).first()
    return (user, Clock(clock_name)) if user else None


def _unsigned(signer: Signer, text: str) -> str | None:
    try:
        return signer.unsign(text)
    except BadSignature:
        return None
