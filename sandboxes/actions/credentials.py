"""Read the credentials of a running sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandboxes import blueprints
from sandboxes.actions.locking import locked_running_sandbox
from sandboxes.core import journal as core_journal
from sandboxes.models import (
    EventKind,
    Sandbox,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CREDENTIALS_NOT_RUNNING = "Only a running sandbox has credentials; this one is {state}."


def read_credentials(sandbox: Sandbox, actor: User) -> dict[str, str]:
    """Return the credentials of a running sandbox and record the view. Raises StateConflict."""
    with locked_running_sandbox(sandbox, CREDENTIALS_NOT_RUNNING) as row:
        core_journal.record(row, EventKind.CREDENTIALS_READ, "Credentials viewed.", actor=actor)
        secrets = row.secrets
    own = blueprints.load(row.blueprint).fill_credentials(secrets, row.addresses)
    return own | {"stellar_secret": secrets["STELLAR_SECRET"]}
