from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sandboxes', '0022_mail_queue'),
    ]

    operations = [
        migrations.CreateModel(
            name='WorkerStatus',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('last_heartbeat_at', models.DateTimeField(editable=False, null=True)),
            ],
            options={
                'verbose_name': 'worker status',
                'verbose_name_plural': 'worker status',
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='workerstatus_singleton')],
            },
        ),
    ]
