from django.db import migrations

ACTIONS = ("add", "change", "delete", "view")


def rename_permissions(apps, old, new):
    permissions = apps.get_model("auth", "Permission").objects
    for action in ACTIONS:
        rows = permissions.filter(
            content_type__app_label="sandboxes", codename=f"{action}_{old.replace(' ', '')}"
        )
        rows.update(codename=f"{action}_{new.replace(' ', '')}", name=f"Can {action} {new}")


def to_new_names(apps, schema_editor):
    rename_permissions(apps, "tally", "outcome count")


def to_old_names(apps, schema_editor):
    rename_permissions(apps, "outcome count", "tally")


class Migration(migrations.Migration):
    """Rename the model and its permissions; grants stay."""

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("sandboxes", "0012_renamed_settings"),
    ]

    operations = [
        migrations.RenameModel("Tally", "OutcomeCount"),
        migrations.RunPython(to_new_names, to_old_names),
    ]
