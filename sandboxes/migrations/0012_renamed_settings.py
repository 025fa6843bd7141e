from django.db import migrations

RENAMED = {
    "SANDBOX_REAPER_MAX_ENDINGS": "SANDBOX_SWEEP_MAX_EXPIRATIONS",
    "SANDBOX_LAUNCHES_AT_ONCE": "SANDBOX_MAX_CONCURRENT_LAUNCHES",
    "SANDBOX_MEMORY_FLOOR_MB": "SANDBOX_MIN_FREE_MEMORY_MB",
}


def rename(apps, names):
    for site in apps.get_model("sandboxes", "Site").objects.all():
        site.tuned = {names.get(name, name): value for name, value in site.tuned.items()}
        site.save(update_fields=["tuned"])


def to_new_names(apps, schema_editor):
    rename(apps, RENAMED)


def to_old_names(apps, schema_editor):
    rename(apps, {new: old for old, new in RENAMED.items()})


class Migration(migrations.Migration):
    """Rename the settings that operators changed in the admin."""

    dependencies = [
        ('sandboxes', '0011_requests'),
    ]

    operations = [
        migrations.RunPython(to_new_names, to_old_names),
    ]
