"""Since when the engine of a sandbox is away, so that its owner may replace the sandbox."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0040_engine_certificate")]

    operations: ClassVar = [
        migrations.AddField(
            "sandbox", "unreachable_since", models.DateTimeField(editable=False, null=True)
        ),
    ]
