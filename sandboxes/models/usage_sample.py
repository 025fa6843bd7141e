"""Samples of a sandbox's resource usage."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from sandboxes.lib import clock
from sandboxes.models.sandbox import Sandbox


class UsageSample(models.Model):
    """What one sandbox consumed at one moment, taken by the reaper."""

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
    """Since launch; None: not counted yet, or its blueprint doesn't tell what a request is."""
    log_cursor = models.CharField(max_length=40, blank=True)
    """Where the log had been read to for that, in the runtime's own terms."""

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["sandbox", "id"], name="sample_by_sandbox")]

    def __str__(self) -> str:
        return f"{self.sandbox} {self.at}"
