"""The dashboard's queries for a user's sandboxes, compiled once per process.

To compile a query takes longer than to run it, and than everything else that a poll does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from sandboxes.models import Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from sandboxes.models.sandbox import SandboxQuerySet

ANY_OWNER = -1
"""In place of a user's key in the compiled SQL."""


class OwnedRows:
    """Sandboxes of one user; `select` chooses them among all that the user has."""

    def __init__(self, select: Callable[[SandboxQuerySet], QuerySet[Sandbox]]) -> None:
        self._select = select

    def read(self, owner: User) -> list[Sandbox]:
        statement, parameters = self._compiled
        own = [owner.pk if value == ANY_OWNER else value for value in parameters]
        rows = list(Sandbox.objects.raw(statement, own))
        for row in rows:
            row.owner = owner
        return rows

    @cached_property
    def _compiled(self) -> tuple[str, tuple[object, ...]]:
        rows = self._select(Sandbox.objects.filter(owner=ANY_OWNER))
        statement, parameters = rows.query.sql_with_params()
        return statement, tuple(parameters)
