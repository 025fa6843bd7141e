"""States, end reasons and kinds of journal events of sandboxes."""

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
"""States that count against the owner's limit."""
NOT_ENDING = (*COUNTED_STATES, State.POOLED)
"""States of sandboxes that have an owner or may get one."""
NON_TERMINAL = (*NOT_ENDING, State.DESTROYING)
"""States in which the engine may hold resources of the sandbox."""
POOL_STATES = (State.PENDING, State.PROVISIONING, State.POOLED)
"""States of a sandbox of the warm pool before it is assigned to an owner."""
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
"""Reasons for which the last state is `failed` instead of `destroyed`."""


class Funding(models.TextChoices):
    PENDING = "pending"
    FUNDED = "funded"
    FAILED = "failed"


class DeadlineKind(models.TextChoices):
    IDLE = "idle", "nobody is using it"
    EXPIRED = "expired", "its time is nearly up"


class EventKind(models.TextChoices):
    """Kinds of journal events. The values are part of the API."""

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    DELAYED = "delayed"
    POOLED = "pooled"
    RUNNING = "running"
    EXTENDED = "extended"
    TOUCHED = "touched"
    CREDENTIALS_READ = "credentials_read"
    RESET_REQUESTED = "reset_requested"
    RESET = "reset"
    RESET_FAILED = "reset_failed"
    FUNDING_ASKED = "funding_asked"
    FUNDING_PENDING = "funding_pending"
    FUNDING_FUNDED = "funding_funded"
    FUNDING_FAILED = "funding_failed"
    WARNED = "warned"
    MAILED = "mailed"
    MESSAGE = "message"
    REVIVED = "revived"
    ENDING = "ending"
    REMOVAL_ASKED = "removal_asked"
    REMOVAL_DELAYED = "removal_delayed"
    DESTROYED = "destroyed"
    FAILED = "failed"
