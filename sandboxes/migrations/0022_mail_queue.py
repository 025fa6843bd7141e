from django.db import migrations, models


class Migration(migrations.Migration):
    """Make the rows of operators' messages and invitations the queue of their emails."""

    dependencies = [("sandboxes", "0021_webhook_turns")]

    operations = [
        migrations.AddField(
            model_name="event",
            name="mail_due_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="invitation",
            name="mail_due_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("mail_due_at__isnull", False)),
                fields=["mail_due_at"],
                name="event_mail_due",
            ),
        ),
    ]
