"""The keep-alive link of a warning email: moves that deadline, once."""

from __future__ import annotations

from django.db import transaction

from sandboxes import actions
from sandboxes.core import limits
from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import DeadlineKind, SandboxWarning

LINK_USED = "This link has already been used."
DEADLINE_CHANGED = "This sandbox no longer needs extending."
TOO_LATE = "Too late: the sandbox has ended or is about to end."


def link_blocker(warning: SandboxWarning) -> str:
    """Return why the link can't be used any more, or an empty string."""
    owner = warning.sandbox.owner
    if owner is None or not owner.is_active:
        return TOO_LATE
    if warning.link_used_at:
        return LINK_USED
    if not warning.sandbox.is_active or warning.deadline <= clock.now():
        return TOO_LATE
    return "" if warning.is_current else DEADLINE_CHANGED


def extension_minutes(warning: SandboxWarning) -> int:
    """Return how many minutes the link of an expiry warning adds: as many as the limits allow."""
    assert warning.sandbox.owner
    longest = limits.get_limits(warning.sandbox.owner).extension_max_minutes
    return int(limits.extension_preview(warning.sandbox, longest).total_seconds() // 60)


def keep_alive(warning: SandboxWarning) -> None:
    """Extend or touch the sandbox on behalf of its owner, once. Raises StateConflict."""
    with transaction.atomic():
        rows = SandboxWarning.objects.select_for_update(of=("self",))
        fresh = rows.select_related("sandbox__owner").defer("sandbox__secrets").get(pk=warning.pk)
        if why := link_blocker(fresh):
            raise StateConflict(why)
        SandboxWarning.objects.filter(pk=fresh.pk).update(link_used_at=clock.now())
        owner = fresh.sandbox.owner
        assert owner
        if fresh.deadline_kind == DeadlineKind.IDLE:
            actions.touch(fresh.sandbox, owner)
        else:
            actions.extend(fresh.sandbox, extension_minutes(fresh), owner)
