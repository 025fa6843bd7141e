from django.db import migrations, models


class Migration(migrations.Migration):
    """Add what the order of webhook deliveries depends on."""

    dependencies = [("sandboxes", "0020_funding_status")]

    operations = [
        migrations.AddField(
            model_name="webhook",
            name="last_attempt_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="webhook",
            name="slow",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
