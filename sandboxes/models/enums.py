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


LAUNCHING_STATES = (State.PENDING, State.PROVISIONING)
"""States before a sandbox is ready."""
COUNTED_STATES = (*LAUNCHING_STATES, State.RUNNING)
"""States that count against the owner's limit."""
NOT_ENDING = (*COUNTED_STATES, State.POOLED)
"""States of sandboxes that have an owner or may get one."""
NON_TERMINAL = (*NOT_ENDING, State.DESTROYING)
"""States in which the engine may hold resources of the sandbox."""
POOL_STATES = (*LAUNCHING_STATES, State.POOLED)
"""States of a sandbox of the warm pool before it is assigned to an owner."""
TERMINAL_STATES = (State.DESTROYED, State.FAILED)


class EndReason(models.TextChoices):
    USER = "user", "destroyed by its owner"
    OPERATOR = "operator", "destroyed by an operator"
    EXPIRED = "expired", "expired"
    IDLE = "idle", "idle timeout"
    HEARTBEAT = "heartbeat", "no heartbeat"
    PROVISION_FAILED = "provision_failed", "failed to start"
    CRASHED = "crashed", "service crashed"
    OUT_OF_MEMORY = "out_of_memory", "out of memory"
    DISK_FULL = "disk_full", "disk limit exceeded"
    LOST = "lost", "lost: missing on the engine"
    DRAINED = "drained", "ended for maintenance"
    RETIRED = "retired", "removed from the pool"


FAILURE_REASONS = (
    EndReason.PROVISION_FAILED,
    EndReason.CRASHED,
    EndReason.OUT_OF_MEMORY,
    EndReason.DISK_FULL,
    EndReason.LOST,
)
"""Reasons for which the last state is `failed` instead of `destroyed`."""


OPERATOR_REASONS = (EndReason.OPERATOR, EndReason.DRAINED)
"""Reasons of ends that operators decide on; their owners get an email."""


class Funding(models.TextChoices):
    PENDING = "pending"
    FUNDED = "funded"
    FAILED = "failed"


class DeadlineKind(models.TextChoices):
    IDLE = "idle", "idle timeout"
    EXPIRED = "expired", "end of lifetime"


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
    RENAMED = "renamed"
    AGENT_CALL = "agent_call"
    RESET_REQUESTED = "reset_requested"
    RESET = "reset"
    RESET_FAILED = "reset_failed"
    SAVE_REQUESTED = "save_requested"
    SAVED = "saved"
    SAVE_FAILED = "save_failed"
    RESTORE_REQUESTED = "restore_requested"
    RESTORED = "restored"
    RESTORE_FAILED = "restore_failed"
    CLOCK_CHANGED = "clock_changed"
    EVENT_CREATED = "event_created"
    EVENT_REPLAYED = "event_replayed"
    ENDPOINT_CHANGED = "endpoint_changed"
    FUNDING_ASKED = "funding_asked"
    FUNDING_PENDING = "funding_pending"
    FUNDING_FUNDED = "funding_funded"
    FUNDING_FAILED = "funding_failed"
    WARNED = "warned"
    MAILED = "mailed"
    MESSAGE = "message"
    REVIVED = "revived"
    UNHEALTHY = "unhealthy"
    UNREACHABLE = "unreachable"
    REACHABLE = "reachable"
    ENDING = "ending"
    REMOVAL_ASKED = "removal_asked"
    REMOVAL_DELAYED = "removal_delayed"
    DESTROYED = "destroyed"
    FAILED = "failed"
