"""The vocabulary in which sandboxes are looked for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from sandboxes.models.enums import (
    ACTIVE,
    LIVE,
    STANDING,
    STOCK,
    State,
)

if TYPE_CHECKING:
    from sandboxes.models.sandbox import Sandbox  # noqa: F401 - below it is named as a text


class SandboxQuerySet(models.QuerySet["Sandbox"]):
    def active(self) -> SandboxQuerySet:
        return self.filter(state__in=ACTIVE)

    def standing(self) -> SandboxQuerySet:
        return self.filter(state__in=STANDING)

    def stock(self) -> SandboxQuerySet:
        """Of the warm pool: they wait for an owner, or are being made to."""
        return self.filter(state__in=STOCK, warm=True, owner=None)

    def pooled(self) -> SandboxQuerySet:
        return self.filter(state=State.POOLED)

    def of_people(self) -> SandboxQuerySet:
        """Without those that nobody has asked for."""
        return self.exclude(warm=True, owner=None)

    def live(self) -> SandboxQuerySet:
        # The time says nothing more, but it leads to the small index of what has not ended.
        return self.filter(state__in=LIVE, ended_at__isnull=True)

    def running(self) -> SandboxQuerySet:
        return self.filter(state=State.RUNNING)

    def ended(self) -> SandboxQuerySet:
        return self.filter(ended_at__isnull=False)

    def newest_first(self) -> SandboxQuerySet:
        return self.order_by("-created_at", "-id")

    def unleased(self, now: datetime) -> SandboxQuerySet:
        """Those that no worker holds at the moment."""
        return self.filter(Q(lease_until=None) | Q(lease_until__lte=now))


_Manager = models.Manager.from_queryset(SandboxQuerySet)


class SandboxManager(_Manager["Sandbox"]):
    """Leaves the secrets encrypted in the database until somebody asks for them.

    Lists need no decryption then, and a sandbox whose key was lost can still be ended. The last
    logs, which are long, wait there likewise.
    """

    def get_queryset(self) -> SandboxQuerySet:
        return SandboxQuerySet(self.model, using=self._db).defer("secrets", "last_logs")
