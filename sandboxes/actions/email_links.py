"""What the link in a warning's mail does: keeps the sandbox past that deadline, once."""

from __future__ import annotations

from django.db import transaction

from sandboxes import actions
from sandboxes.core import limits
from sandboxes.core import limits as core_limits
from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import DeadlineKind, SandboxWarning

LINK_USED = "This link was used already; it works once."
DEADLINE_CHANGED = (
    "The end that this link was about is not in force any more, so there is nothing to do."
)
TOO_LATE = "It is too late: the sandbox has ended, or is about to."


def link_blocker(warning: SandboxWarning) -> str:
    """Why the link does nothing any more; empty when it would act."""
    owner = warning.sandbox.owner
    if owner is None or not owner.is_active:
        return str(TOO_LATE)
    if warning.used_at:
        return str(LINK_USED)
    if not warning.sandbox.is_active or warning.deadline <= clock.now():
        return str(TOO_LATE)
    return "" if warning.is_current else str(DEADLINE_CHANGED)


def extension_minutes(warning: SandboxWarning) -> int:
    """How many minutes the link of an expiry gives: as many as there are to be had."""
    assert warning.sandbox.owner
    most = limits.get_limits(warning.sandbox.owner).extension_max_minutes
    return int(core_limits.extension_preview(warning.sandbox, most).total_seconds() // 60)


def keep_alive(warning: SandboxWarning) -> None:
    """Extend or touch the sandbox on behalf of its owner, once. Raises StateConflict."""
    with transaction.atomic():
        rows = SandboxWarning.objects.select_for_update(of=("self",))
        fresh = rows.select_related("sandbox__owner").defer("sandbox__secrets").get(pk=warning.pk)
        if why := link_blocker(fresh):
            raise StateConflict(why)
        SandboxWarning.objects.filter(pk=fresh.pk).update(used_at=clock.now())
        owner = fresh.sandbox.owner
        assert owner
        if fresh.clock == DeadlineKind.IDLE:
            actions.touch(fresh.sandbox, owner)
        else:
            actions.extend(fresh.sandbox, extension_minutes(fresh), owner)
