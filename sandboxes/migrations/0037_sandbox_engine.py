"""The engine of each sandbox; those of older code are on the default engine."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0036_default_engine")]

    operations: ClassVar = [
        migrations.AddField(
            "sandbox",
            "engine",
            models.ForeignKey(
                db_default=models.Value("default"),
                db_index=False,
                default="default",
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="sandboxes",
                to="sandboxes.engine",
            ),
        ),
    ]
