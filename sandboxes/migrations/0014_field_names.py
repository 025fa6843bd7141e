from django.db import migrations, models

from sandboxes.models.abstract.append_only import trigger_sql

TABLE = "sandboxes_auditentry"


def guard(apps, schema_editor):
    """Install the triggers again: SQLite drops them when it rebuilds the table."""
    if schema_editor.connection.vendor != "sqlite":
        return
    for name in ("update", "delete"):
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {TABLE}_no_{name}")
    for statement in trigger_sql("sqlite", TABLE):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    """Rename fields and constraints."""

    dependencies = [("sandboxes", "0013_outcome_count")]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, guard),
        migrations.RemoveConstraint("sandbox", "active_sandboxes_have_a_slot"),
        migrations.RemoveConstraint("sandbox", "state_is_known"),
        migrations.RemoveConstraint("sandbox", "nobody_has_what_is_in_the_pool"),
        migrations.RemoveConstraint("sandbox", "running_sandboxes_have_their_clocks"),
        migrations.RemoveConstraint("sandbox", "an_end_has_a_reason"),
        migrations.RemoveConstraint("sandbox", "what_has_ended_says_when"),
        migrations.RemoveConstraint("auditentry", "every_act_has_a_reason"),
        migrations.RemoveConstraint("sandboxwarning", "one_warning_for_each_deadline"),
        migrations.RemoveConstraint("webhookdelivery", "what_is_pending_is_due_some_time"),
        migrations.RemoveConstraint("outcomecount", "one_tally_for_each_outcome"),
        migrations.RemoveConstraint("limitoverride", "limits_are_of_one_user_or_of_one_group"),
        migrations.RemoveConstraint("extension", "an_extension_never_shortens"),
        migrations.RemoveConstraint("pool", "pooled_sandboxes_are_a_day_old_at_most"),
        migrations.RemoveIndex("auditentry", "audit_by_subject"),
        migrations.RenameField("sandbox", "attempt", "lease_token"),
        migrations.RenameField("sandbox", "lease_until", "leased_until"),
        migrations.RenameField("sandbox", "warm", "from_pool"),
        migrations.RenameField("sandbox", "made_of", "spec_version"),
        migrations.RenameField("sandbox", "last_logs", "final_logs"),
        migrations.RenameField("event", "at", "created_at"),
        migrations.RenameField("event", "by", "actor_role"),
        migrations.RenameField("auditentry", "by", "actor"),
        migrations.RenameField("auditentry", "act", "action"),
        migrations.RenameField("auditentry", "kind", "model"),
        migrations.RenameField("auditentry", "concerns", "affected_user"),
        migrations.RenameField("usagesample", "log_read_to", "log_cursor"),
        migrations.RenameField("sandboxwarning", "at", "created_at"),
        migrations.RenameField("sandboxwarning", "clock", "deadline_kind"),
        migrations.RenameField("sandboxwarning", "used_at", "link_used_at"),
        migrations.RenameField("webhook", "off_because", "disabled_reason"),
        migrations.RenameField("webhook", "busy_until", "leased_until"),
        migrations.RenameField("webhookdelivery", "outcome", "status"),
        migrations.RenameField("webhookdelivery", "tries", "attempts"),
        migrations.RenameField("outcomecount", "slot", "bucket_start"),
        migrations.RenameField("outcomecount", "act", "operation"),
        migrations.RenameField("outcomecount", "start", "launch_kind"),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['model', 'subject_key'], name='audit_by_subject'),
        ),
        migrations.AddConstraint(
            model_name='auditentry',
            constraint=models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='auditentry_reason_required'),
        ),
        migrations.AddConstraint(
            model_name='extension',
            constraint=models.CheckConstraint(condition=models.Q(('expires_after__gte', models.F('expires_before'))), name='extension_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='limitoverride',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('group__isnull', True), ('user__isnull', False)), models.Q(('group__isnull', False), ('user__isnull', True)), _connector='OR'), name='limitoverride_user_xor_group', violation_error_message='Choose a user or a group, and not both.'),
        ),
        migrations.AddConstraint(
            model_name='outcomecount',
            constraint=models.UniqueConstraint(fields=('bucket_start', 'operation', 'launch_kind', 'result'), name='outcomecount_key_unique'),
        ),
        migrations.AddConstraint(
            model_name='pool',
            constraint=models.CheckConstraint(condition=models.Q(('max_age_minutes__isnull', True), models.Q(('max_age_minutes__gte', 1), ('max_age_minutes__lte', 1440)), _connector='OR'), name='pool_max_age_one_day'),
        ),
        migrations.AddConstraint(
            model_name='sandbox',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('slot__isnull', False), ('state__in', ('pending', 'provisioning', 'running'))), models.Q(('slot__isnull', True), models.Q(('state__in', ('pending', 'provisioning', 'running')), _negated=True)), models.Q(('from_pool', True), ('owner__isnull', True), ('slot__isnull', True), ('state__in', ('pending', 'provisioning', 'pooled'))), _connector='OR'), name='sandbox_slot_matches_state'),
        ),
        migrations.AddConstraint(
            model_name='sandbox',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'provisioning', 'pooled', 'running', 'destroying', 'destroyed', 'failed'])), name='sandbox_state_valid'),
        ),
        migrations.AddConstraint(
            model_name='sandbox',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'pooled'), _negated=True), models.Q(('from_pool', True), ('owner__isnull', True)), _connector='OR'), name='sandbox_pooled_has_no_owner'),
        ),
        migrations.AddConstraint(
            model_name='sandbox',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'running'), _negated=True), models.Q(('expires_at__isnull', False), ('hard_cap_at__isnull', False), ('last_activity_at__isnull', False), ('started_at__isnull', False)), _connector='OR'), name='sandbox_running_has_deadlines'),
        ),
        migrations.AddConstraint(
            model_name='sandbox',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ('destroying', 'destroyed', 'failed')), _negated=True), models.Q(('end_reason', ''), _negated=True), _connector='OR'), name='sandbox_end_reason_required'),
        ),
        migrations.AddConstraint(
            model_name='sandbox',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', False), ('state__in', ('destroyed', 'failed'))), models.Q(models.Q(('state__in', ('destroyed', 'failed')), _negated=True), ('ended_at__isnull', True)), _connector='OR'), name='sandbox_ended_at_matches_state'),
        ),
        migrations.AddConstraint(
            model_name='sandboxwarning',
            constraint=models.UniqueConstraint(fields=('sandbox', 'deadline_kind', 'deadline'), name='warning_deadline_unique'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('due_at__isnull', False), ('status', 'pending')), models.Q(models.Q(('status', 'pending'), _negated=True), ('due_at__isnull', True)), _connector='OR'), name='delivery_pending_has_due_at'),
        ),
        migrations.RunPython(guard, migrations.RunPython.noop),
    ]
