"""Lock a running sandbox for an action."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import (
    Sandbox,
    State,
)


@contextmanager
def locked_running_sandbox(sandbox: Sandbox, refusal: str) -> Iterator[Sandbox]:
    """The sandbox as it is now, locked. Unless it runs, raises Conflict with that sentence."""
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        if row.state != State.RUNNING:
            raise StateConflict(refusal.format(state=row.state))
        yield row
