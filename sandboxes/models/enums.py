"""The words for what a sandbox is doing and why it ended."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    PENDING = "pending"
    PROVISIONING = "provisioning"
    POOLED = "pooled"
    RUNNING = "running"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    FAILED = "failed"


ACTIVE = (State.PENDING, State.PROVISIONING, State.RUNNING)
"""Counted against its owner."""
STANDING = (*ACTIVE, State.POOLED)
"""Not to end yet: somebody has it, or may be given it."""
LIVE = (*STANDING, State.DESTROYING)
"""The engine may hold something of it."""
STOCK = (State.PENDING, State.PROVISIONING, State.POOLED)
"""What states a sandbox of the warm pool goes through before somebody is given it."""
ENDED = (State.DESTROYED, State.FAILED)


class EndReason(models.TextChoices):
    USER = "user", _("destroyed by its owner")
    OPERATOR = "operator", _("destroyed by an operator")
    EXPIRED = "expired", _("its time was up")
    IDLE = "idle", _("nobody used it")
    PROVISION_FAILED = "provision_failed", _("it could not be made")
    CRASHED = "crashed", _("a service stopped")
    OUT_OF_MEMORY = "out_of_memory", _("a service ran out of memory")
    DISK_FULL = "disk_full", _("it wrote more than its disk limit")
    LOST = "lost", _("it disappeared from the engine")
    DRAINED = "drained", _("the portal was emptied for maintenance")
    RETIRED = "retired", _("it was not needed in the pool any more")


FAILURES = (
    EndReason.PROVISION_FAILED,
    EndReason.CRASHED,
    EndReason.OUT_OF_MEMORY,
    EndReason.DISK_FULL,
    EndReason.LOST,
)
"""Reasons that make the last state `failed` instead of `destroyed`."""


class Funding(models.TextChoices):
    PENDING = "pending"
    FUNDED = "funded"
    FAILED = "failed"


class Clock(models.TextChoices):
    IDLE = "idle", _("nobody is using it")
    EXPIRED = "expired", _("its time is nearly up")
