from django.db import migrations


class Migration(migrations.Migration):
    """Remove the columns that repeat what the rows of warnings say."""

    dependencies = [("sandboxes", "0017_warnings")]

    operations = [
        migrations.RemoveField("sandbox", "warned_expiry_for"),
        migrations.RemoveField("sandbox", "warned_idle_for"),
    ]
