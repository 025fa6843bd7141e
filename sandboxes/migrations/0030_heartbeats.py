"""Heartbeats, by which a sandbox ends with its client."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0029_parameters_and_metadata")]

    operations: ClassVar = [
        migrations.AddField(
            "sandbox",
            "heartbeat_seconds",
            models.PositiveSmallIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            "sandbox", "heartbeat_expires_at", models.DateTimeField(editable=False, null=True)
        ),
        migrations.AlterField(
            "sandbox",
            "end_reason",
            models.CharField(
                blank=True,
                choices=[
                    ("user", "destroyed by its owner"),
                    ("operator", "destroyed by an operator"),
                    ("expired", "expired"),
                    ("idle", "idle timeout"),
                    ("heartbeat", "no heartbeat"),
                    ("provision_failed", "failed to start"),
                    ("crashed", "service crashed"),
                    ("out_of_memory", "out of memory"),
                    ("disk_full", "disk limit exceeded"),
                    ("lost", "lost: missing on the engine"),
                    ("drained", "ended for maintenance"),
                    ("retired", "removed from the pool"),
                ],
                editable=False,
                max_length=20,
            ),
        ),
    ]
