"""When the certificates of an engine's connection end."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0039_sandbox_events")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="engine",
            name="certificate_expires_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
