"""Traffic of the portal's own requests, which doesn't count as activity."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0024_reachability")]

    operations: ClassVar = [
        migrations.AddField(
            "sandbox",
            "portal_received_bytes",
            models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            "sandbox",
            "portal_sent_bytes",
            models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
    ]
