from django.db import migrations, models


def give_up_unrendered(apps, schema_editor):
    """Mark messages without a body as failed: an earlier version couldn't render them."""
    rows = apps.get_model("sandboxes", "WebhookDelivery").objects.filter(body="")
    rows.update(status="failed", due_at=None, body="{}")


class Migration(migrations.Migration):
    dependencies = [
        ("sandboxes", "0015_split_site"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhookdelivery",
            name="facts",
            field=models.JSONField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="webhookdelivery",
            name="body",
            field=models.TextField(blank=True),
        ),
        migrations.RunPython(migrations.RunPython.noop, give_up_unrendered, elidable=True),
    ]
