"""Parameters and metadata of sandboxes, and the table that finds sandboxes by metadata."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0028_reserved_ports")]

    operations: ClassVar = [
        migrations.AddField(
            "sandbox",
            "parameters",
            models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                editable=False,
            ),
        ),
        migrations.AddField(
            "sandbox",
            "metadata",
            models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                editable=False,
            ),
        ),
        migrations.CreateModel(
            "MetadataEntry",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=40)),
                ("value", models.CharField(max_length=500)),
                (
                    "sandbox",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="metadata_entries",
                        to="sandboxes.sandbox",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["key", "value", "sandbox"], name="metadata_by_value")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("sandbox", "key"), name="metadata_key_once")
                ],
            },
        ),
    ]
