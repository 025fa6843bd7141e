from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the state of the circuit breaker in front of Friendbot."""

    dependencies = [("sandboxes", "0019_labels")]

    operations = [
        migrations.CreateModel(
            name="FundingStatus",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("failures", models.PositiveSmallIntegerField(default=0, editable=False)),
                ("retry_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "verbose_name": "funding status",
                "verbose_name_plural": "funding status",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("pk", 1)), name="fundingstatus_singleton"
                    )
                ],
            },
        )
    ]
