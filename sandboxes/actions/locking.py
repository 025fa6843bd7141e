"""Lock a running sandbox for an action."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import transaction

from sandboxes.lib.exceptions import (
    Conflict,
)
from sandboxes.models import (
    Sandbox,
    State,
)

if TYPE_CHECKING:
    from django.utils.functional import Promise


@contextmanager
def locked_running_sandbox(sandbox: Sandbox, refusal: str | Promise) -> Iterator[Sandbox]:
    """The sandbox as it is now, locked. Unless it runs, raises Conflict with that sentence."""
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        if row.state != State.RUNNING:
            raise Conflict(str(refusal) % {"state": row.state})
        yield row
