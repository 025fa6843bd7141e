"""Warnings before a sandbox ends: recorded once per deadline."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sandboxes.core.journal import record
from sandboxes.lib import clock
from sandboxes.models import DeadlineKind, Preferences, Sandbox, SandboxWarning

if TYPE_CHECKING:
    from django.contrib.auth.models import User
MESSAGES = {
    DeadlineKind.IDLE: "Warning: it has had no traffic for a while and ends at {:%H:%M} UTC.",
    DeadlineKind.EXPIRED: "Warning: its time is up at {:%H:%M} UTC.",
}


def record_warning(sandbox: Sandbox, kind: DeadlineKind, deadline: datetime) -> SandboxWarning:
    """Write it down, in the journal too; its mail is due at once, if its owner wants one."""
    owner = sandbox.owner
    mail = owner is not None and owner.email and Preferences.for_user(owner).wants_mail(kind)
    now = clock.now()
    warning = SandboxWarning.objects.create(
        sandbox=sandbox,
        clock=kind,
        deadline=deadline,
        at=now,
        mail_due_at=now if mail else None,
    )
    record(sandbox, "warned", MESSAGES[kind].format(deadline), clock=str(kind))
    return warning


def active_warnings(user: User) -> list[SandboxWarning]:
    """What the user is to be warned of now, the most urgent first."""
    rows = SandboxWarning.objects.active(user, clock.now()).defer("sandbox__secrets")
    return [warning for warning in rows if warning.is_current]
