"""The status of the engine is in its row; the old table stays for the version before."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0037_sandbox_engine")]

    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("EngineStatus")]),
    ]
