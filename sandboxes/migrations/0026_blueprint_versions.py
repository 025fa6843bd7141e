"""Versions of blueprints, which sandboxes keep."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import sandboxes.lib.clock


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0025_portal_traffic")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="BlueprintVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(editable=False, max_length=40)),
                ("digest", models.CharField(editable=False, max_length=32, unique=True)),
                ("document", models.TextField(editable=False)),
                ("images", models.JSONField(editable=False)),
                (
                    "prepared_at",
                    models.DateTimeField(default=sandboxes.lib.clock.now, editable=False),
                ),
                ("activated_at", models.DateTimeField(editable=False, null=True)),
                ("is_active", models.BooleanField(default=False, editable=False)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_active", True)),
                        fields=("name",),
                        name="one_active_version",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="sandbox",
            name="blueprint_version",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="sandboxes",
                to="sandboxes.blueprintversion",
                to_field="digest",
            ),
        ),
        migrations.AddIndex(
            model_name="sandbox",
            index=models.Index(fields=["blueprint_version"], name="sandbox_by_version"),
        ),
    ]
