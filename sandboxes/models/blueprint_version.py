"""Versions of blueprints: what sandboxes are launched from, and keep."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import Exists, OuterRef, Q

from sandboxes.lib import clock

DIGEST_LENGTH = 32
SHORT_LENGTH = 8


class BlueprintVersionQuerySet(models.QuerySet["BlueprintVersion"]):
    def active(self) -> BlueprintVersionQuerySet:
        return self.filter(is_active=True)

    def of(self, name: str) -> BlueprintVersionQuerySet:
        """Return the versions of a blueprint; the one that was prepared last comes first."""
        return self.filter(name=name).order_by("-prepared_at", "-pk")

    def unused_since(self, time: datetime) -> BlueprintVersionQuerySet:
        """Return superseded versions from before a time that no sandbox or save point refers to."""
        newer = BlueprintVersion.objects.filter(
            name=OuterRef("name"), prepared_at__gt=OuterRef("prepared_at")
        )
        old = self.filter(Exists(newer), is_active=False, prepared_at__lt=time)
        return old.filter(sandboxes=None, save_points=None).exclude(activated_at__gte=time)


class BlueprintVersion(models.Model):
    """A parsed blueprint and the images that it was prepared with; neither ever changes.

    At most one version of a blueprint is active: new sandboxes are launched from it.
    """

    name = models.CharField(max_length=40, editable=False)
    digest = models.CharField(max_length=DIGEST_LENGTH, unique=True, editable=False)
    """Content hash of the document and of the image ids."""
    document = models.TextField(editable=False)
    """The blueprint as JSON. It is a text, since PostgreSQL doesn't keep the order of keys."""
    images = models.JSONField(editable=False)
    """Id of each image on the engine, by name."""
    prepared_at = models.DateTimeField(default=clock.now, editable=False)
    """When its folder was last found to have this content."""
    activated_at = models.DateTimeField(null=True, editable=False)
    """When it was last activated; None if it never was."""
    is_active = models.BooleanField(default=False, editable=False)
    images_missing_since = models.DateTimeField(null=True, editable=False)
    """When the engine was first found to lack an image; None if it had all when last asked."""

    objects = BlueprintVersionQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(is_active=True), name="one_active_version"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.short_digest}"

    @property
    def short_digest(self) -> str:
        return self.digest[:SHORT_LENGTH]

    @property
    def state(self) -> str:
        """`active`; if it isn't, `images missing`, `previous` (was active once) or `prepared`."""
        if self.is_active:
            return "active"
        if self.images_missing_since:
            return "images missing"
        return "previous" if self.activated_at else "prepared"
