"""Save points, and what sandboxes return to and were launched from."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
import sandboxes.lib.clock
import sandboxes.models.save_point
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("sandboxes", "0041_unreachable_sandboxes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="SavePoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "public_id",
                    models.CharField(
                        default=sandboxes.models.save_point.new_save_point_id,
                        editable=False,
                        max_length=20,
                        unique=True,
                    ),
                ),
                ("slot", models.PositiveSmallIntegerField(editable=False, null=True)),
                ("name", models.CharField(max_length=60)),
                ("blueprint", models.CharField(editable=False, max_length=40)),
                ("parameters", models.JSONField(default=dict, editable=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("saving", "Saving"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                            ("deleting", "Deleting"),
                        ],
                        default="saving",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("error", models.CharField(blank=True, editable=False, max_length=300)),
                ("size_bytes", models.BigIntegerField(default=0, editable=False)),
                ("pause_seconds", models.FloatField(editable=False, null=True)),
                ("event_cursor", models.CharField(blank=True, editable=False, max_length=100)),
                ("idempotency_key", models.CharField(blank=True, editable=False, max_length=255)),
                ("is_starting_point", models.BooleanField(default=False)),
                (
                    "created_at",
                    models.DateTimeField(default=sandboxes.lib.clock.now, editable=False),
                ),
                ("expires_at", models.DateTimeField()),
                (
                    "blueprint_version",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="save_points",
                        to="sandboxes.blueprintversion",
                        to_field="digest",
                    ),
                ),
                (
                    "engine",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="save_points",
                        to="sandboxes.engine",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="save_points",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "sandbox",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="save_points",
                        to="sandboxes.sandbox",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["state", "expires_at"], name="save_point_by_expiry")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner", "slot"), name="one_save_point_per_slot"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key", ""), _negated=True),
                        fields=("owner", "idempotency_key"),
                        name="one_save_point_per_key",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "saving")),
                        fields=("sandbox",),
                        name="one_save_at_a_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["saving", "ready", "failed", "deleting"])
                        ),
                        name="save_point_state_valid",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="sandbox",
            name="launched_from",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="launched",
                to="sandboxes.savepoint",
                to_field="public_id",
            ),
        ),
        migrations.AddField(
            model_name="sandbox",
            name="reset_to",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="restoring",
                to="sandboxes.savepoint",
                to_field="public_id",
            ),
        ),
    ]
