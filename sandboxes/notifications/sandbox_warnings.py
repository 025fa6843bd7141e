"""Warnings before a sandbox ends, recorded once per deadline."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from sandboxes.core.journal import record
from sandboxes.lib import clock, queue
from sandboxes.models import DeadlineKind, EventKind, Preferences, Sandbox, SandboxWarning
from sandboxes.notifications import tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MESSAGES = {
    DeadlineKind.IDLE: "Warning: no recent requests; stops at {:%H:%M} UTC.",
    DeadlineKind.EXPIRED: "Warning: expires at {:%H:%M} UTC.",
}


def warn(sandbox: Sandbox, *, idle: bool) -> bool:
    """Warn the owner of this deadline.

    Return False if the warning exists already or the deadline has moved.
    """
    kind = DeadlineKind.IDLE if idle else DeadlineKind.EXPIRED
    deadline = sandbox.idle_expires_at if idle else sandbox.expires_at
    assert deadline
    unchanged = Sandbox.objects.running().filter(
        pk=sandbox.pk,
        expires_at=sandbox.expires_at,
        last_activity_at=sandbox.last_activity_at,
    )
    with transaction.atomic():
        if not unchanged.select_for_update().values_list("pk", flat=True).first():
            return False
        if record_warning(sandbox, kind, deadline) is None:
            return False
        queue.enqueue(tasks.send_mails)
    return True


def record_warning(
    sandbox: Sandbox, kind: DeadlineKind, deadline: datetime
) -> SandboxWarning | None:
    """Record a warning and its journal event; its email is due now if the owner wants one.

    Return None if the owner was warned of this deadline before.
    """
    owner = sandbox.owner
    wants_mail = owner is not None and owner.email and Preferences.for_user(owner).wants_mail(kind)
    now = clock.now()
    warning, is_new = SandboxWarning.objects.get_or_create(
        sandbox=sandbox,
        deadline_kind=kind,
        deadline=deadline,
        defaults={"created_at": now, "mail_due_at": now if wants_mail else None},
    )
    if not is_new:
        return None
    record(sandbox, EventKind.WARNED, MESSAGES[kind].format(deadline), clock=str(kind))
    return warning


def active_warnings(user: User) -> list[SandboxWarning]:
    """Return the current warnings of a user, most urgent first."""
    rows = SandboxWarning.objects.active(user, clock.now()).defer("sandbox__secrets")
    return [warning for warning in rows if warning.is_current]
