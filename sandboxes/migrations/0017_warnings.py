from django.db import migrations
from django.db.models import OuterRef, Subquery

COLUMNS = {"idle": "warned_idle_for", "expired": "warned_expiry_for"}
BATCH_SIZE = 2000


def to_rows(apps, schema_editor):
    """Add the rows of warnings that only the sandbox recorded."""
    sandboxes = apps.get_model("sandboxes", "Sandbox").objects
    warnings = apps.get_model("sandboxes", "SandboxWarning").objects
    for kind, column in COLUMNS.items():
        last = 0
        while True:
            batch = sandboxes.filter(pk__gt=last).exclude(**{column: None}).order_by("pk")
            pairs = list(batch.values_list("pk", column)[:BATCH_SIZE])
            if not pairs:
                break
            rows = [
                warnings.model(
                    sandbox_id=pk, deadline_kind=kind, deadline=deadline, created_at=deadline
                )
                for pk, deadline in pairs
            ]
            warnings.bulk_create(rows, ignore_conflicts=True)
            last = pairs[-1][0]


def to_columns(apps, schema_editor):
    """Store the latest warning of each kind with its sandbox."""
    sandboxes = apps.get_model("sandboxes", "Sandbox").objects
    warnings = apps.get_model("sandboxes", "SandboxWarning").objects
    for kind, column in COLUMNS.items():
        latest = warnings.filter(sandbox=OuterRef("pk"), deadline_kind=kind).order_by("-pk")
        rows = sandboxes.filter(pk__in=warnings.filter(deadline_kind=kind).values("sandbox"))
        rows.update(**{column: Subquery(latest.values("deadline")[:1])})


class Migration(migrations.Migration):
    """Record each warning as a row."""

    dependencies = [("sandboxes", "0016_webhook_facts")]

    operations = [migrations.RunPython(to_rows, to_columns)]
