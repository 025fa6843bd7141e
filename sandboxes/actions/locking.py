"""Lock a running sandbox for an action."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import Sandbox, State


@contextmanager
def locked_running_sandbox(sandbox: Sandbox, error: str) -> Iterator[Sandbox]:
    """Lock the sandbox and yield its current row.

    Raises StateConflict with this message, which may contain `{state}`, unless the sandbox runs.
    """
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        if row.state != State.RUNNING:
            raise StateConflict(error.format(state=row.state))
        yield row
