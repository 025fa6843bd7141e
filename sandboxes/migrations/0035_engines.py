"""Engines as rows."""

from __future__ import annotations

from typing import ClassVar

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0034_identity_rules")]

    operations: ClassVar = [
        migrations.CreateModel(
            "Engine",
            [
                (
                    "name",
                    models.CharField(
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                        validators=[
                            django.core.validators.RegexValidator(
                                r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z",
                                "Use lowercase letters, digits and hyphens.",
                            )
                        ],
                    ),
                ),
                ("address", models.CharField(blank=True, editable=False, max_length=200)),
                ("publish_address", models.GenericIPAddressField(editable=False, null=True)),
                ("public_host", models.CharField(blank=True, editable=False, max_length=253)),
                (
                    "weight",
                    models.PositiveSmallIntegerField(
                        default=100,
                        help_text="Engines get sandboxes in proportion to their free memory times "
                        "this weight.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000),
                        ],
                    ),
                ),
                ("labels", models.JSONField(blank=True, default=dict, editable=False)),
                ("draining_since", models.DateTimeField(editable=False, null=True)),
                ("away_since", models.DateTimeField(editable=False, null=True)),
                ("removed_at", models.DateTimeField(editable=False, null=True)),
                ("last_seen_at", models.DateTimeField(editable=False, null=True)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                ("engine_id", models.CharField(blank=True, editable=False, max_length=64)),
                ("version", models.CharField(blank=True, editable=False, max_length=60)),
                ("architecture", models.CharField(blank=True, editable=False, max_length=20)),
                ("images", models.JSONField(editable=False, null=True)),
                ("disk_quota_enforced", models.BooleanField(editable=False, null=True)),
                ("memory_mb", models.PositiveIntegerField(editable=False, null=True)),
                ("memory_available_mb", models.PositiveIntegerField(editable=False, null=True)),
                ("disk_total_mb", models.PositiveIntegerField(editable=False, null=True)),
                ("disk_free_mb", models.PositiveIntegerField(editable=False, null=True)),
                ("subnets_taken", models.PositiveIntegerField(editable=False, null=True)),
            ],
        ),
    ]
