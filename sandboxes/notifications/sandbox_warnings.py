"""Warnings before a sandbox ends: recorded once per deadline."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sandboxes.core.journal import record
from sandboxes.lib import clock
from sandboxes.models import Clock, Preferences, Sandbox, SandboxWarning

if TYPE_CHECKING:
    from django.contrib.auth.models import User
WORDS = {
    Clock.IDLE: "Warning: it has had no traffic for a while and ends at {:%H:%M} UTC.",
    Clock.EXPIRED: "Warning: its time is up at {:%H:%M} UTC.",
}


def note_warning(sandbox: Sandbox, clock_name: Clock, deadline: datetime) -> SandboxWarning:
    """Write it down, in the journal too; its mail is due at once, if its owner wants one."""
    owner = sandbox.owner
    mail = owner is not None and owner.email and Preferences.of(owner).wants_mail(clock_name)
    now = clock.now()
    warning = SandboxWarning.objects.create(
        sandbox=sandbox,
        clock=clock_name,
        deadline=deadline,
        at=now,
        mail_due_at=now if mail else None,
    )
    record(sandbox, "warned", WORDS[clock_name].format(deadline), clock=str(clock_name))
    return warning


def standing(user: User) -> list[SandboxWarning]:
    """What the user is to be warned of now, the most urgent first."""
    rows = SandboxWarning.objects.standing(user, clock.now()).defer("sandbox__secrets")
    return [warning for warning in rows if warning.is_current]
