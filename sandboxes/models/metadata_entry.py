"""An index of the metadata of sandboxes, which works the same on all databases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import models

from sandboxes.models.sandbox import Sandbox

MAX_METADATA_PAIRS = 20
MAX_KEY_LENGTH = 40
MAX_VALUE_LENGTH = 500


class MetadataEntry(models.Model):
    """One pair of `Sandbox.metadata`, by which sandboxes are found."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="metadata_entries",
        db_index=False,  # The constraint begins with it.
    )
    key = models.CharField(max_length=MAX_KEY_LENGTH)
    value = models.CharField(max_length=MAX_VALUE_LENGTH)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sandbox", "key"], name="metadata_key_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["key", "value", "sandbox"], name="metadata_by_value")
        ]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"

    @staticmethod
    def index(sandbox: Sandbox) -> Iterable[MetadataEntry]:
        """Save the entries of a sandbox that has none."""
        pairs = sandbox.metadata.items()
        return MetadataEntry.objects.bulk_create(
            MetadataEntry(sandbox=sandbox, key=key, value=value) for key, value in pairs
        )
