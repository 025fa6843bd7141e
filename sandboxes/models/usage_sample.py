"""Samples of a sandbox's resource usage."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from sandboxes.lib import clock
from sandboxes.models.sandbox import Sandbox


class UsageSample(models.Model):
    """Resource usage of a sandbox at one time, recorded by a sweep."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="samples",
        db_index=False,  # `sample_by_sandbox` begins with it.
    )
    at = models.DateTimeField(default=clock.now, db_index=True)
    memory_mb = models.FloatField()
    cpu_seconds = models.FloatField()
    disk_mb = models.FloatField(null=True)
    received_bytes = models.BigIntegerField()
    sent_bytes = models.BigIntegerField()
    requests = models.BigIntegerField(null=True)
    """Number since launch; None if not counted yet, or if the blueprint doesn't define requests."""
    log_cursor = models.CharField(max_length=40, blank=True)
    """Position in the log up to which requests are counted, in a format of the runtime."""

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["sandbox", "id"], name="sample_by_sandbox")]

    def __str__(self) -> str:
        return f"{self.sandbox} {self.at}"
