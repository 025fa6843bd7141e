import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('sandboxes', '0018_drop_warned_columns'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='apitoken',
            name='scope',
            field=models.CharField(choices=[('read', 'view sandboxes'), ('launch', 'create and manage sandboxes'), ('all', 'full access, including credentials')], default='all', max_length=6),
        ),
        migrations.AlterField(
            model_name='limitoverride',
            name='group',
            field=models.OneToOneField(blank=True, help_text='Instead of a user: applies to all members.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='limit_override', to='auth.group'),
        ),
        migrations.AlterField(
            model_name='pool',
            name='max_age_minutes',
            field=models.PositiveSmallIntegerField(blank=True, help_text='Older sandboxes are replaced. If empty, SANDBOX_POOL_MAX_AGE_MINUTES.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1440)], verbose_name='maximum age in minutes'),
        ),
        migrations.AlterField(
            model_name='pool',
            name='paused',
            field=models.BooleanField(default=False, help_text="Use the ready sandboxes, but don't provision more."),
        ),
        migrations.AlterField(
            model_name='pool',
            name='size',
            field=models.PositiveSmallIntegerField(blank=True, help_text='Number of sandboxes to keep ready. If empty, SANDBOX_POOL_SIZE for the default blueprint, and 0 for others.', null=True),
        ),
        migrations.AlterField(
            model_name='pool',
            name='switched_off',
            field=models.BooleanField(default=False, help_text='Disable launches of this blueprint, and keep no sandboxes ready.'),
        ),
        migrations.AlterField(
            model_name='sandbox',
            name='end_reason',
            field=models.CharField(blank=True, choices=[('user', 'destroyed by its owner'), ('operator', 'destroyed by an operator'), ('expired', 'expired'), ('idle', 'idle timeout'), ('provision_failed', 'failed to start'), ('crashed', 'service crashed'), ('out_of_memory', 'out of memory'), ('disk_full', 'disk limit exceeded'), ('lost', 'lost: missing on the engine'), ('drained', 'ended for maintenance'), ('retired', 'removed from the pool')], editable=False, max_length=20),
        ),
        migrations.AlterField(
            model_name='sandboxwarning',
            name='deadline_kind',
            field=models.CharField(choices=[('idle', 'idle timeout'), ('expired', 'end of lifetime')], max_length=7),
        ),
        migrations.AlterField(
            model_name='webhook',
            name='disabled_reason',
            field=models.CharField(blank=True, choices=[('owner', 'disabled by you'), ('operator', 'disabled by an operator'), ('failing', 'deliveries failed for days'), ('gone', 'the endpoint responded with 410 Gone')], editable=False, max_length=8),
        ),
        migrations.AlterField(
            model_name='webhookdelivery',
            name='status',
            field=models.CharField(choices=[('pending', 'pending'), ('delivered', 'delivered'), ('failed', 'failed permanently')], default='pending', editable=False, max_length=9),
        ),
        migrations.AlterConstraint(
            model_name='limitoverride',
            name='limitoverride_user_xor_group',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('group__isnull', True), ('user__isnull', False)), models.Q(('group__isnull', False), ('user__isnull', True)), _connector='OR'), name='limitoverride_user_xor_group', violation_error_message='Choose either a user or a group.'),
        ),
    ]
