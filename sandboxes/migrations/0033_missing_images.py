"""Versions of blueprints whose images are gone, and which therefore can't be activated."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0032_account_mails")]

    operations: ClassVar = [
        migrations.AddField(
            "blueprintversion",
            "images_missing_since",
            models.DateTimeField(editable=False, null=True),
        ),
    ]
