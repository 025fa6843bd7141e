from django.db import migrations, models

ACTIONS = ("add", "change", "delete", "view")
UNREACHABLE = "The engine can't be reached"
LIMIT_EXCEEDED = "are due at once"
NOT_REMOVED = "could not be removed"
ENGINE_FIELDS = (
    "engine", "memory_mb", "memory_available_mb", "disk_total_mb", "disk_free_mb", "subnets_taken"
)


def split(apps, schema_editor):
    """Copy the row of the site into the rows of the new tables."""
    def model(name):
        return apps.get_model("sandboxes", name).objects

    for site in model("Maintenance").filter(pk=1):
        error = site.reaper_error
        model("LaunchLock").create(pk=1)
        model("RuntimeSettings").create(pk=1, overrides=site.tuned)
        model("OutcomeCursor").create(pk=1, last_event_id=site.tallied_event)
        model("EngineStatus").create(
            pk=1,
            disk_quota_enforced=site.hard_disk_limit,
            **{name: getattr(site, name) for name in ENGINE_FIELDS},
        )
        model("SweepStatus").create(
            pk=1,
            last_sweep_at=site.reaped_at,
            last_sweep_error=error,
            seconds=site.sweep_seconds,
            orphans=site.orphans,
            engine_reachable=not error.startswith(UNREACHABLE),
            expiration_limit_exceeded=LIMIT_EXCEEDED in error,
            failed_removals=error.count(NOT_REMOVED),
        )


def join(apps, schema_editor):
    """Copy the rows of the tables back into the row of the site."""
    def row(name):
        return apps.get_model("sandboxes", name).objects.filter(pk=1).first()

    values = {}
    if settings := row("RuntimeSettings"):
        values["tuned"] = settings.overrides
    if cursor := row("OutcomeCursor"):
        values["tallied_event"] = cursor.last_event_id
    if engine := row("EngineStatus"):
        values["hard_disk_limit"] = engine.disk_quota_enforced
        values |= {name: getattr(engine, name) for name in ENGINE_FIELDS}
    if sweep := row("SweepStatus"):
        error = sweep.last_sweep_error
        if not sweep.engine_reachable and not error.startswith(UNREACHABLE):
            error = f"{UNREACHABLE}. {error}"
        if sweep.expiration_limit_exceeded and LIMIT_EXCEEDED not in error[:300]:
            error = f"Sandboxes {LIMIT_EXCEEDED}. {error}"
        values |= {
            "reaped_at": sweep.last_sweep_at,
            "reaper_error": error[:300],
            "sweep_seconds": sweep.seconds,
            "orphans": sweep.orphans,
        }
    if values or row("Maintenance"):
        apps.get_model("sandboxes", "Maintenance").objects.update_or_create(pk=1, defaults=values)


def rename_permissions(apps, old, new):
    """Rename the permissions on a model, whose content type has its new name already."""
    permissions = apps.get_model("auth", "Permission").objects
    for action in ACTIONS:
        rows = permissions.filter(
            content_type__app_label="sandboxes", codename=f"{action}_{old.replace(' ', '')}"
        )
        rows.update(codename=f"{action}_{new.replace(' ', '')}", name=f"Can {action} {new}")


def rename_content_type(apps, old, new):
    types = apps.get_model("contenttypes", "ContentType").objects.filter(app_label="sandboxes")
    if not types.filter(model=new).exists():
        types.filter(model=old).update(model=new)


def carry_permissions(apps, schema_editor):
    rename_content_type(apps, "sitesettings", "runtimesettings")
    rename_permissions(apps, "site", "maintenance")
    rename_permissions(apps, "sitesettings", "runtimesettings")


def carry_permissions_back(apps, schema_editor):
    rename_content_type(apps, "runtimesettings", "sitesettings")
    rename_permissions(apps, "maintenance", "site")
    rename_permissions(apps, "runtimesettings", "sitesettings")


def singleton(name, *fields, **options):
    return migrations.CreateModel(
        name=name,
        fields=[
            ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            *fields,
        ],
        options={
            **options,
            "abstract": False,
            "constraints": [
                models.CheckConstraint(condition=models.Q(pk=1), name=f"{name.lower()}_singleton")
            ],
        },
    )


def named(name):
    return {"verbose_name": name, "verbose_name_plural": name}


class Migration(migrations.Migration):
    """Split the row of the site by purpose; values and permissions are carried over."""

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("sandboxes", "0014_field_names"),
    ]

    operations = [
        singleton("LaunchLock"),
        singleton(
            "RuntimeSettings",
            ("overrides", models.JSONField(blank=True, default=dict)),
            **named("settings"),
        ),
        singleton("OutcomeCursor", ("last_event_id", models.BigIntegerField(default=0, editable=False))),
        singleton(
            "EngineStatus",
            ("engine", models.CharField(blank=True, editable=False, max_length=60)),
            ("disk_quota_enforced", models.BooleanField(editable=False, null=True)),
            ("memory_mb", models.PositiveIntegerField(editable=False, null=True)),
            ("memory_available_mb", models.PositiveIntegerField(editable=False, null=True)),
            ("disk_total_mb", models.PositiveIntegerField(editable=False, null=True)),
            ("disk_free_mb", models.PositiveIntegerField(editable=False, null=True)),
            ("subnets_taken", models.PositiveIntegerField(editable=False, null=True)),
            **named("engine status"),
        ),
        singleton(
            "SweepStatus",
            ("last_sweep_at", models.DateTimeField(editable=False, null=True)),
            ("seconds", models.FloatField(editable=False, null=True)),
            ("engine_reachable", models.BooleanField(default=True, editable=False)),
            ("expiration_limit_exceeded", models.BooleanField(default=False, editable=False)),
            ("failed_removals", models.PositiveIntegerField(default=0, editable=False)),
            ("last_sweep_error", models.TextField(blank=True, editable=False)),
            ("orphans", models.JSONField(default=list, editable=False)),
            **named("sweep status"),
        ),
        migrations.DeleteModel("SiteSettings"),
        migrations.RemoveConstraint("site", "there_is_one_site"),
        migrations.RenameModel("Site", "Maintenance"),
        migrations.AlterModelOptions("maintenance", named("maintenance")),
        migrations.RenameField("maintenance", "drained_until", "until"),
        migrations.RenameField("maintenance", "drain_message", "message"),
        migrations.AddConstraint(
            "maintenance",
            models.CheckConstraint(condition=models.Q(pk=1), name="maintenance_singleton"),
        ),
        migrations.RunPython(carry_permissions, carry_permissions_back),
        migrations.RunPython(split, join),
        migrations.RemoveField("maintenance", "tuned"),
        migrations.RemoveField("maintenance", "reaped_at"),
        migrations.RemoveField("maintenance", "reaper_error"),
        migrations.RemoveField("maintenance", "sweep_seconds"),
        migrations.RemoveField("maintenance", "orphans"),
        migrations.RemoveField("maintenance", "tallied_event"),
        migrations.RemoveField("maintenance", "hard_disk_limit"),
        migrations.RemoveField("maintenance", "engine"),
        migrations.RemoveField("maintenance", "memory_mb"),
        migrations.RemoveField("maintenance", "memory_available_mb"),
        migrations.RemoveField("maintenance", "disk_total_mb"),
        migrations.RemoveField("maintenance", "disk_free_mb"),
        migrations.RemoveField("maintenance", "subnets_taken"),
    ]
