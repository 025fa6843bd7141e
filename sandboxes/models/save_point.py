"""Save points: the data of a sandbox at one moment, to return to or to launch from."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q, Sum

from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet
from sandboxes.models.blueprint_version import BlueprintVersion
from sandboxes.models.engine import Engine
from sandboxes.models.sandbox import ID_ALPHABET, Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User

BYTES_PER_MB = 1024 * 1024


def new_save_point_id() -> str:
    """Return `sp_` and 16 letters or digits, valid in names on any engine."""
    return "sp_" + "".join(secrets.choice(ID_ALPHABET) for _ in range(16))


class SavePointState(models.TextChoices):
    SAVING = "saving"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


KEPT_STATES = (SavePointState.SAVING, SavePointState.READY)
"""States in which the engine may hold its data; in any other, the data is removed."""


class SavePointQuerySet(ClaimQuerySet["SavePoint"]):
    def kept(self) -> SavePointQuerySet:
        return self.filter(state__in=KEPT_STATES)

    def saving(self) -> SavePointQuerySet:
        return self.filter(state=SavePointState.SAVING)

    def ready(self) -> SavePointQuerySet:
        return self.filter(state=SavePointState.READY)

    def listed(self) -> SavePointQuerySet:
        """Return those that users see: all but those that are being deleted."""
        return self.exclude(state=SavePointState.DELETING)

    def launchable_by(self, user: User) -> SavePointQuerySet:
        """Return those that the user may launch from: their own, and starting points."""
        return self.ready().filter(Q(owner=user) | Q(is_starting_point=True))

    def newest_first(self) -> SavePointQuerySet:
        return self.order_by("-created_at", "-id")

    def total_mb(self) -> float:
        """Return the size of all data, in MB."""
        return (self.aggregate(total=Sum("size_bytes"))["total"] or 0) / BYTES_PER_MB


class SavePoint(models.Model):
    """The data of all services of a sandbox at one moment; its engine holds it."""

    public_id = models.CharField(
        max_length=20, unique=True, default=new_save_point_id, editable=False
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="save_points",
        db_index=False,  # The constraint begins with it.
    )
    slot = models.PositiveSmallIntegerField(null=True, editable=False)
    """Number within the owner's quota while it is kept; unique, so that a bug can't exceed it."""
    name = models.CharField(max_length=60)
    sandbox = models.ForeignKey(
        Sandbox, null=True, on_delete=models.SET_NULL, related_name="save_points", editable=False
    )
    """The sandbox whose data it has; None once its row was deleted."""
    blueprint = models.CharField(max_length=40, editable=False)
    blueprint_version = models.ForeignKey(
        BlueprintVersion,
        null=True,
        on_delete=models.PROTECT,
        to_field="digest",
        related_name="save_points",
        editable=False,
    )
    """The version of the sandbox, which sandboxes that are launched from it keep."""
    parameters = models.JSONField(default=dict, editable=False)
    """Those of the sandbox, which its data depends on."""
    engine = models.ForeignKey(
        Engine, on_delete=models.PROTECT, related_name="save_points", editable=False
    )
    state = models.CharField(
        max_length=10, choices=SavePointState, default=SavePointState.SAVING, editable=False
    )
    error = models.CharField(max_length=300, blank=True, editable=False)
    """Why it couldn't be saved, or couldn't be removed the last time."""
    size_bytes = models.BigIntegerField(default=0, editable=False)
    """Space that the data takes on the engine, in addition to the images of the blueprint."""
    pause_seconds = models.FloatField(null=True, editable=False)
    """How long the services were paused for it; None until it is saved."""
    event_cursor = models.CharField(max_length=100, blank=True, editable=False)
    """Id of the last event of the sandbox that the portal had read."""
    idempotency_key = models.CharField(max_length=255, blank=True, editable=False)
    """Of the request that created it."""
    is_starting_point = models.BooleanField(default=False)
    """Whether everybody may launch from it; operators decide that, and it doesn't expire."""
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField()

    objects = SavePointQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "slot"], name="one_save_point_per_slot"),
            models.UniqueConstraint(
                fields=["owner", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="one_save_point_per_key",
            ),
            models.UniqueConstraint(
                fields=["sandbox"],
                condition=Q(state=SavePointState.SAVING),
                name="one_save_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=SavePointState.values), name="save_point_state_valid"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["state", "expires_at"], name="save_point_by_expiry")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_ready(self) -> bool:
        return self.state == SavePointState.READY

    @property
    def size_mb(self) -> float:
        return self.size_bytes / BYTES_PER_MB

    @property
    def ends_at(self) -> datetime | None:
        """When it is deleted; None if it stays until an operator decides."""
        return None if self.is_starting_point else self.expires_at
