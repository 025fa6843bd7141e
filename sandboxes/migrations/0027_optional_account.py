"""Sandboxes without an account, whose funding is empty."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0026_blueprint_versions")]

    operations: ClassVar = [
        migrations.AlterField(
            "sandbox",
            "funding",
            models.CharField(
                blank=True,
                choices=[("pending", "Pending"), ("funded", "Funded"), ("failed", "Failed")],
                default="pending",
                editable=False,
                max_length=8,
            ),
        ),
    ]
