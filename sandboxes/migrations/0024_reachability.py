"""What sweeps find broken about a running sandbox."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0023_worker_status")]

    operations: ClassVar = [
        migrations.AddField(
            "sandbox",
            "problem",
            models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=300
            ),
        ),
        migrations.AddField(
            "sandbox", "repair_after", models.DateTimeField(editable=False, null=True)
        ),
    ]
