"""The row of the engine that the environment describes, with what the last sweep found."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

FIELDS = (
    "disk_quota_enforced",
    "memory_mb",
    "memory_available_mb",
    "disk_total_mb",
    "disk_free_mb",
    "subnets_taken",
)


def create_default_engine(apps: Any, _editor: object) -> None:
    found = apps.get_model("sandboxes", "EngineStatus").objects.filter(pk=1).first()
    values = {name: getattr(found, name, None) for name in FIELDS}
    values["version"] = found.engine if found else ""
    engines = apps.get_model("sandboxes", "Engine").objects
    engines.get_or_create(name="default", defaults=values)


def restore_status(apps: Any, _editor: object) -> None:
    engine = apps.get_model("sandboxes", "Engine").objects.get(name="default")
    values = {name: getattr(engine, name) for name in FIELDS} | {"engine": engine.version}
    status = apps.get_model("sandboxes", "EngineStatus").objects
    status.update_or_create(pk=1, defaults=values)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0035_engines")]
    operations: ClassVar = [migrations.RunPython(create_default_engine, restore_status)]
