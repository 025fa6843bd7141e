"""The links in mails that work without signing in: signed, each for one purpose.

Whoever holds one may do what it says and nothing else; looking at it does nothing, since mail
scanners open whatever they find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import signing
from django.urls import reverse

from sandboxes.models import Clock, SandboxWarning

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RESCUE, UNSUBSCRIBE = "sandboxes.rescue", "sandboxes.unsubscribe"
ACTS = {Clock.IDLE: "touch", Clock.EXPIRED: "extend"}


def absolute(name: str, *args: object) -> str:
    return f"{settings.SITE_URL}{reverse(name, args=args)}"


def rescue_url(warning: SandboxWarning) -> str:
    """Where the sandbox can be kept past this deadline, once."""
    return absolute("rescue", signing.dumps(_bound_to(warning), salt=RESCUE))


def _bound_to(warning: SandboxWarning) -> list[object]:
    sandbox = warning.sandbox
    deadline = warning.deadline.isoformat()
    return [warning.pk, sandbox.public_id, sandbox.owner_id, ACTS[Clock(warning.clock)], deadline]


def read_rescue(token: str) -> SandboxWarning | None:
    """The warning of such a link, if the two still fit together; None for any other text."""
    try:
        bound = signing.loads(token, salt=RESCUE)
    except signing.BadSignature:
        return None
    rows = SandboxWarning.objects.select_related("sandbox__owner").defer("sandbox__secrets")
    warning = rows.filter(pk=bound[0]).first()
    return warning if warning and _bound_to(warning) == bound else None


def unsubscribe_url(user: User, clock_name: str) -> str:
    """Where this user stops the mails of this kind; it works for as long as mails are kept."""
    token = signing.dumps([user.pk, clock_name], salt=UNSUBSCRIBE, compress=False)
    return absolute("unsubscribe", token)


def read_unsubscribe(token: str) -> tuple[User, Clock] | None:
    try:
        pk, clock_name = signing.loads(token, salt=UNSUBSCRIBE)
    except signing.BadSignature:
        return None
    user = get_user_model().objects.filter(pk=pk, is_active=True).first()
    return (user, Clock(clock_name)) if user else None
