"""Rules by which CI jobs exchange identity tokens, and the tokens that were exchanged."""

from __future__ import annotations

import django.core.validators
import django.db.models.deletion
import sandboxes.lib.clock
import sandboxes.models.accounts.identity_rule
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sandboxes', '0033_missing_images'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='UsedIdentityToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('expires_at', models.DateTimeField(db_index=True, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='IdentityRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=50, unique=True)),
                ('issuer', models.CharField(help_text='Such as https://token.actions.githubusercontent.com, or the address of your GitLab.', max_length=200, validators=[sandboxes.models.accounts.identity_rule.validate_issuer])),
                ('audience', models.CharField(help_text="What “aud” of the tokens must contain, such as this portal's URL.", max_length=200)),
                ('claims', models.JSONField(help_text='Claims that tokens must have, with exactly these texts: {"repository": "acme/shop"} for GitHub, {"project_path": "acme/shop"} for GitLab.', validators=[sandboxes.models.accounts.identity_rule.validate_claims])),
                ('scope', models.CharField(choices=[('read', 'view sandboxes'), ('launch', 'create and manage sandboxes'), ('all', 'full access, including credentials')], default='all', max_length=6)),
                ('token_minutes', models.PositiveSmallIntegerField(default=60, help_text='Lifetime of the API tokens.', validators=[django.core.validators.MinValueValidator(5), django.core.validators.MaxValueValidator(1440)], verbose_name='minutes')),
                ('enabled', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=sandboxes.lib.clock.now, editable=False)),
                ('last_used_at', models.DateTimeField(editable=False, null=True)),
                ('user', models.ForeignKey(help_text='The account that jobs use. Its limits apply to all of them together.', on_delete=django.db.models.deletion.CASCADE, related_name='identity_rules', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'identity token rule',
            },
        ),
        migrations.AddField(
            model_name='apitoken',
            name='identity_rule',
            field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='api_tokens', to='sandboxes.identityrule'),
        ),
    ]
