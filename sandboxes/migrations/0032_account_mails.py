"""Emails about accounts that wait until the mail server is back."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

import sandboxes.encryption.fields
import sandboxes.lib.clock


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0031_device_authorizations")]

    operations: ClassVar = [
        migrations.CreateModel(
            "AccountMail",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("content", sandboxes.encryption.fields.EncryptedJSONField()),
                (
                    "created_at",
                    models.DateTimeField(db_index=True, default=sandboxes.lib.clock.now),
                ),
                ("due_at", models.DateTimeField(db_index=True, default=sandboxes.lib.clock.now)),
            ],
        ),
    ]
