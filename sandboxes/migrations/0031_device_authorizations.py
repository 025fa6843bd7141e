"""Requests of command-line clients to sign in."""

from __future__ import annotations

import django.db.models.deletion
import sandboxes.lib.clock
import sandboxes.models.accounts.device_authorization
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sandboxes', '0030_heartbeats'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DeviceAuthorization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('device_code_digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('user_code', models.CharField(editable=False, max_length=8, unique=True)),
                ('scope', models.CharField(choices=[('read', 'view sandboxes'), ('launch', 'create and manage sandboxes'), ('all', 'full access, including credentials')], editable=False, max_length=6)),
                ('device_name', models.CharField(blank=True, editable=False, max_length=40)),
                ('address', models.GenericIPAddressField(editable=False, null=True)),
                ('decision', models.CharField(blank=True, choices=[('approved', 'approved'), ('denied', 'denied')], editable=False, max_length=8)),
                ('created_at', models.DateTimeField(default=sandboxes.lib.clock.now, editable=False)),
                ('expires_at', models.DateTimeField(db_index=True, default=sandboxes.models.accounts.device_authorization.default_expiry, editable=False)),
                ('interval_seconds', models.PositiveSmallIntegerField(default=5, editable=False)),
                ('polled_at', models.DateTimeField(editable=False, null=True)),
                ('user', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
