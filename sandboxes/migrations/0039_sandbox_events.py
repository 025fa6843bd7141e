"""Events of sandboxes, and their deliveries to webhook endpoints."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import sandboxes.encryption.fields
import sandboxes.lib.clock
import sandboxes.models.webhook


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("sandboxes", "0038_forget_engine_status"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="EventEndpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("endpoint_id", models.CharField(max_length=100)),
                ("url", models.CharField(max_length=500)),
                ("event_types", models.JSONField(default=list)),
                (
                    "secrets",
                    sandboxes.encryption.fields.EncryptedJSONField(default=dict, editable=False),
                ),
                ("active", models.BooleanField(default=True)),
                ("misbehavior", models.JSONField(default=dict)),
                ("leased_until", models.DateTimeField(null=True)),
                ("last_attempt_at", models.DateTimeField(null=True)),
                ("slow", models.BooleanField(default=False)),
                (
                    "sandbox",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="event_endpoints",
                        to="sandboxes.sandbox",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("sandbox", "endpoint_id"), name="event_endpoint_once"
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="EventFeed",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("epoch", models.PositiveIntegerField(default=1)),
                ("cursor", models.CharField(blank=True, max_length=100)),
                ("read_at", models.DateTimeField(default=sandboxes.lib.clock.now)),
                ("leased_until", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, max_length=300)),
                (
                    "sandbox",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="feed",
                        to="sandboxes.sandbox",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SandboxEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.CharField(max_length=100)),
                (
                    "message_id",
                    models.CharField(
                        default=sandboxes.models.webhook.new_message_id, max_length=20, unique=True
                    ),
                ),
                ("type", models.CharField(max_length=100)),
                ("body", models.TextField()),
                (
                    "received_at",
                    models.DateTimeField(db_index=True, default=sandboxes.lib.clock.now),
                ),
                (
                    "sandbox",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="inbox",
                        to="sandboxes.sandbox",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("sandbox", "event_id"), name="sandbox_event_once"
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="EventDelivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("delivered", "delivered"),
                            ("failed", "failed permanently"),
                        ],
                        default="pending",
                        max_length=9,
                    ),
                ),
                ("due_at", models.DateTimeField(null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("log", models.JSONField(default=list)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="sandboxes.eventendpoint",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="sandboxes.sandboxevent",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("due_at__isnull", False), ("status", "pending")),
                            models.Q(
                                models.Q(("status", "pending"), _negated=True),
                                ("due_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="event_delivery_pending_has_due_at",
                    )
                ],
                "verbose_name_plural": "event deliveries",
            },
        ),
        migrations.AddIndex(
            model_name="sandboxevent",
            index=models.Index(fields=["sandbox", "id"], name="sandbox_event_in_order"),
        ),
        migrations.AddIndex(
            model_name="eventdelivery",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="event_delivery_due",
            ),
        ),
    ]
