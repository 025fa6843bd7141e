"""The engines that run sandboxes: one from the environment, and those that operators add."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from sandboxes.lib import clock
from sandboxes.runtime import DEFAULT_ENGINE, Capabilities, EngineConnection

NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z"
MAX_WEIGHT = 1000
LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
MAX_LABELS = 20
LARGEST_INTEGER = 2**31 - 1


class EngineState(models.TextChoices):
    """Whether an engine gets new sandboxes."""

    ACTIVE = "active", "active"
    DRAINING = "draining", "draining"
    AWAY = "away", "away"
    REMOVED = "removed", "removed"


class EngineQuerySet(models.QuerySet["Engine"]):
    def present(self) -> Self:
        """Return engines that may have sandboxes, in a fixed order."""
        return self.filter(removed_at=None).order_by("name")


class Engine(models.Model):
    """An engine: where it is, what operators want of it, and what the last sweep found.

    The row of the default engine exists always. Its addresses are those of the environment.
    """

    name = models.CharField(
        max_length=40,
        primary_key=True,
        editable=False,
        validators=[RegexValidator(NAME, "Use lowercase letters, digits and hyphens.")],
    )
    address = models.CharField(max_length=200, blank=True, editable=False)
    """`tcp://host:port` or `unix:///path`; empty for the default engine."""
    publish_address = models.GenericIPAddressField(null=True, editable=False)
    """The address of its machine on which ports are published; None for the default engine."""
    public_host = models.CharField(max_length=253, blank=True, editable=False)
    """The host that users are shown; empty for the default engine."""
    weight = models.PositiveSmallIntegerField(
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)],
        help_text="Engines get sandboxes in proportion to their free memory times this weight.",
    )
    labels = models.JSONField(default=dict, blank=True, editable=False)
    """Keys and values by which blueprints choose engines (`x-sandbox.engine_selector`)."""

    draining_since = models.DateTimeField(null=True, editable=False)
    """Since when operators want it to run empty."""
    away_since = models.DateTimeField(null=True, editable=False)
    """Time of the first of the sweeps that got no answer."""
    removed_at = models.DateTimeField(null=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    """When it got its last sandbox; not recorded for a single engine."""

    engine_id = models.CharField(max_length=64, blank=True, editable=False)
    """The id that the engine gave itself; empty if unknown."""
    certificate_expires_at = models.DateTimeField(null=True, editable=False)
    """The first end of its certificate and the portal's; None without TLS."""
    version = models.CharField(max_length=60, blank=True, editable=False)
    """Name and version."""
    architecture = models.CharField(max_length=20, blank=True, editable=False)
    images = models.JSONField(null=True, editable=False)
    """Id by name of those images of blueprints that it holds; None until the first sweep."""
    disk_quota_enforced = models.BooleanField(null=True, editable=False)
    """Whether the engine enforces disk limits; None until the first sweep."""
    memory_mb = models.PositiveIntegerField(null=True, editable=False)
    """Memory of the engine's host. This and the fields below are None if unknown."""
    memory_available_mb = models.PositiveIntegerField(null=True, editable=False)
    disk_total_mb = models.PositiveIntegerField(null=True, editable=False)
    disk_free_mb = models.PositiveIntegerField(null=True, editable=False)
    subnets_taken = models.PositiveIntegerField(null=True, editable=False)

    objects = EngineQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls) -> Engine:
        """Return the engine of the environment; create its row if it is missing."""
        return cls.objects.get_or_create(name=DEFAULT_ENGINE)[0]

    def store(self, **values: Any) -> None:
        """Set and save these values in one query; other columns keep theirs."""
        for name, value in values.items():
            setattr(self, name, value)
        Engine.objects.filter(name=self.name).update(**values)

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT_ENGINE

    @property
    def state(self) -> EngineState:
        if self.removed_at:
            return EngineState.REMOVED
        if self.away_since:
            return EngineState.AWAY
        return EngineState.DRAINING if self.draining_since else EngineState.ACTIVE

    @property
    def connection(self) -> EngineConnection | None:
        """How to reach it; None for the engine of the environment."""
        if self.is_default:
            return None
        return EngineConnection(
            self.address,
            self.published_on,
            self.public_host,
            settings.SANDBOX_ENGINE_CERTIFICATES,
        )

    @property
    def published_on(self) -> str:
        """The address on which it publishes ports."""
        return str(self.publish_address or settings.SANDBOX_BIND_ADDRESS)

    def matches(self, selector: Mapping[str, str]) -> bool:
        """Return whether it has all of these labels."""
        return all(self.labels.get(key) == value for key, value in selector.items())

    def holds(self, images: Iterable[str]) -> bool:
        """Return whether it holds all of these images, as far as is known."""
        return self.images is None or all(image in self.images for image in images)


def parse_labels(pairs: Iterable[str]) -> dict[str, str]:
    """Return labels written as `key=value`. Raises ValidationError."""
    labels = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValidationError(f"Write labels as key=value, not “{pair}”.")
        labels[key] = value
    check_labels(labels)
    return labels


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise ValidationError for labels that an engine can't have."""
    if len(labels) > MAX_LABELS:
        raise ValidationError(f"Use at most {MAX_LABELS} labels.")
    for word in (*labels.keys(), *labels.values()):
        if not re.match(LABEL, word):
            raise ValidationError(
                f"“{word}” isn't the key or value of a label: use up to 63 letters, digits, “-”, "
                "“_” and “.”, beginning and ending with a letter or digit."
            )


def format_labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def described_by(found: Capabilities) -> dict[str, Any]:
    """Return the values of the columns about what an engine says of itself."""
    figures = {"memory_mb": found.memory_mb, **asdict(found.resources)}
    return {
        "version": f"{found.name} {found.version}"[:60],
        "engine_id": found.engine_id[:64],
        "architecture": found.architecture[:20],
        "certificate_expires_at": found.certificate_expires_at,
        "disk_quota_enforced": found.hard_disk_limit,
        "last_seen_at": clock.now(),
        **{name: _storable(value) for name, value in figures.items()},
    }


def _storable(figure: int | None) -> int | None:
    """Return the nearest value that the column has room for."""
    return figure if figure is None else min(max(figure, 0), LARGEST_INTEGER)
