"""The words for what a sandbox is doing and why it ended."""

from __future__ import annotations

from django.db import models


class State(models.TextChoices):
    PENDING = "pending"
    PROVISIONING = "provisioning"
    POOLED = "pooled"
    RUNNING = "running"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    FAILED = "failed"


COUNTED_STATES = (State.PENDING, State.PROVISIONING, State.RUNNING)
"""Counted against its owner."""
NOT_ENDING = (*COUNTED_STATES, State.POOLED)
"""Not to end yet: somebody has it, or may be given it."""
NON_TERMINAL = (*NOT_ENDING, State.DESTROYING)
"""The engine may hold something of it."""
POOL_STATES = (State.PENDING, State.PROVISIONING, State.POOLED)
"""What states a sandbox of the warm pool goes through before somebody is given it."""
TERMINAL_STATES = (State.DESTROYED, State.FAILED)


class EndReason(models.TextChoices):
    USER = "user", "destroyed by its owner"
    OPERATOR = "operator", "destroyed by an operator"
    EXPIRED = "expired", "its time was up"
    IDLE = "idle", "nobody used it"
    PROVISION_FAILED = "provision_failed", "it could not be made"
    CRASHED = "crashed", "a service stopped"
    OUT_OF_MEMORY = "out_of_memory", "a service ran out of memory"
    DISK_FULL = "disk_full", "it wrote more than its disk limit"
    LOST = "lost", "it disappeared from the engine"
    DRAINED = "drained", "the portal was emptied for maintenance"
    RETIRED = "retired", "it was not needed in the pool any more"


FAILURE_REASONS = (
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


class DeadlineKind(models.TextChoices):
    IDLE = "idle", "nobody is using it"
    EXPIRED = "expired", "its time is nearly up"
