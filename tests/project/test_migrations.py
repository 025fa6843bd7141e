"""Migrations keep data and are reversible, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model, QuerySet

from sandboxes import actions
from sandboxes.accounts import api_tokens
from sandboxes.metrics import outcomes
from sandboxes.models import (
    AuditEntry,
    Engine,
    Event,
    LimitOverride,
    Maintenance,
    OutcomeCount,
    OutcomeCursor,
    Pool,
    RuntimeSettings,
    Sandbox,
    SandboxWarning,
    SweepStatus,
    UsageSample,
    WebhookDelivery,
)
from sandboxes.models.abstract.append_only import trigger_sql
from sandboxes.operators import audit
from sandboxes.reaper.sweep import Sweep
from tests.harness.databases import allow_deleting_audit_entries
from tests.helpers.scenarios import launch

pytestmark = [
    pytest.mark.usefixtures("runtime"),
    pytest.mark.store,
    pytest.mark.slow,
]

PERMANENT = (User, Sandbox, Event)
"""Models whose tables exist after each migration."""
ADDED_LATER = (AuditEntry, Pool, OutcomeCount, UsageSample)


def ordered_migrations() -> list[str]:
    """Return the migrations of the portal in order."""
    graph = MigrationExecutor(connection).loader.graph
    plan = [node for leaf in graph.leaf_nodes("sandboxes") for node in graph.forwards_plan(leaf)]
    return list(dict.fromkeys(name for app, name in plan if app == "sandboxes"))


def applied() -> set[str]:
    rows = MigrationRecorder(connection).applied_migrations()
    return {name for app, name in rows if app == "sandboxes"}


def row_counts() -> list[int]:
    """Return the numbers of rows, by SQL, since models have columns that come and go."""
    with connection.cursor() as cursor:
        counts = []
        for model in PERMANENT:
            cursor.execute(f"SELECT count(*) FROM {model._meta.db_table}")
            counts.append(cursor.fetchone()[0])
    return counts


@pytest.fixture
def data(shared_database: None) -> Iterator[None]:
    """Fill the tables, and install all triggers of the audit log as in production."""
    alice = User.objects.create_user("alice", "alice@example.com")
    olga = User.objects.create_superuser("olga", "olga@example.com")
    api_tokens.issue(alice, "a program")
    Pool.objects.get_or_create(blueprint="billing")
    LimitOverride.objects.create(user=alice, max_active=5, reason="Load tests.")
    sandbox, ended = launch(alice), launch(alice)
    actions.extend(sandbox, 30, alice)
    actions.destroy(ended, alice)
    Sweep().run()
    outcomes.record_engine_error("create")
    audit.record(audit.AuditActor(olga), "suspend", alice, "Mining coins.")
    assert [model for model in (*PERMANENT, *ADDED_LATER) if not model.objects.exists()] == []
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(trigger_sql("sqlite", AuditEntry._meta.db_table)[1])
    yield
    allow_deleting_audit_entries()


def test_each_migration_can_be_reversed_and_applied_again(data: None) -> None:
    names, before = ordered_migrations(), row_counts()
    left = list(names)

    def check(action: str, migration: Any = None, fake: bool = False) -> None:
        if action == "unapply_success" and migration.app_label == "sandboxes":
            assert migration.name == left.pop()
            assert applied() == set(left)
            assert not left or row_counts() == before, f"reversing {migration.name} changed rows"

    MigrationExecutor(connection, check).migrate([("sandboxes", None)])
    assert left == []
    tables = connection.introspection.table_names()
    assert [name for name in tables if name.startswith("sandboxes_")] == []

    call_command("migrate", verbosity=0)
    assert applied() == set(names)
    assert User.objects.count() == before[0]
    assert not Sandbox.objects.exists()


OLD = "0011_requests"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SITE = {
    "drained_until": NOON,
    "drain_message": "New disks.",
    "tuned": {"SANDBOX_MAX_PER_USER": 7, "SANDBOX_MEMORY_FLOOR_MB": 256},
    "reaped_at": NOON,
    "reaper_error": "The engine can't be reached, so nothing is known of it: refused",
    "sweep_seconds": 1.5,
    "orphans": ["sbx_orphan"],
    "tallied_event": 12,
    "hard_disk_limit": True,
    "engine": "Docker 20.10",
    "memory_mb": 16000,
    "disk_total_mb": 100,
    "disk_free_mb": 50,
    "memory_available_mb": 8000,
    "subnets_taken": 3,
}
SANDBOX = {
    "public_id": "sbx_upgraded",
    "blueprint": "billing",
    "state": "running",
    "slot": 1,
    "started_at": NOON,
    "last_activity_at": NOON,
    "expires_at": NOON + timedelta(hours=1),
    "hard_cap_at": NOON + timedelta(hours=4),
    "ttl_minutes": 60,
    "idle_minutes": 30,
    "memory_mb": 512,
    "cpus": 1,
    "disk_mb": 2048,
    "attempt": 3,
    "lease_until": NOON,
    "warm": True,
    "made_of": "v1",
    "last_logs": "the last words",
    "warned_idle_for": NOON + timedelta(minutes=30),
    "warned_expiry_for": NOON + timedelta(hours=1),
}
TALLY = {"slot": NOON, "act": "launch", "start": "warm", "result": "ready", "count": 2}
EVENT = {"at": NOON, "by": "owner", "kind": "requested", "message": "Requested."}
AUDIT = {
    "at": NOON,
    "by": "olga@example.com",
    "act": "suspend",
    "kind": "user",
    "subject": "alice",
    "subject_key": "1",
    "concerns": "alice@example.com",
    "reason": "Mining coins.",
}


def models_at(name: str) -> Apps:
    """Return the models as they were after this migration."""
    return MigrationExecutor(connection).loader.project_state(("sandboxes", name)).apps


def migrate_to(name: str) -> Apps:
    call_command("migrate", "sandboxes", name, verbosity=0)
    return models_at(name)


def saved(model: type[Model], values: dict[str, Any]) -> dict[str, Any]:
    """Return what the only row with these keys holds."""
    return dict(model._default_manager.values(*values).get())


@pytest.fixture
def landed(disposable_database: None) -> Apps:
    """Migrate back to the first released schema, and fill its tables."""
    apps = migrate_to(OLD)
    owner = User.objects.create_user("alice", "alice@example.com")
    sandbox = apps.get_model("sandboxes", "Sandbox").objects.create(owner_id=owner.pk, **SANDBOX)
    apps.get_model("sandboxes", "Site").objects.update_or_create(pk=1, defaults=SITE)
    apps.get_model("sandboxes", "Tally").objects.create(**TALLY)
    apps.get_model("sandboxes", "Event").objects.create(sandbox=sandbox, **EVENT)
    apps.get_model("sandboxes", "AuditEntry").objects.create(**AUDIT)
    apps.get_model("sandboxes", "SandboxWarning").objects.create(
        sandbox=sandbox, clock="idle", deadline=SANDBOX["warned_idle_for"], mailed_at=NOON
    )
    hook = apps.get_model("sandboxes", "Webhook").objects.create(
        user_id=owner.pk, slot=1, url="https://example.com/", off_because="gone", busy_until=NOON
    )
    apps.get_model("sandboxes", "WebhookDelivery").objects.create(
        webhook=hook, type="sandbox.running", body="{}", outcome="failed", tries=4
    )
    return apps


def assert_upgraded() -> None:
    """Check that each value of the first schema is where the current one has it."""
    sandbox = Sandbox.objects.get()
    assert (sandbox.lease_token, sandbox.leased_until, sandbox.from_pool) == (3, NOON, True)
    assert (sandbox.spec_version, sandbox.final_logs) == ("v1", "the last words")
    warnings = SandboxWarning.objects.order_by("deadline_kind")
    assert list(warnings.values_list("deadline_kind", "deadline", "mailed_at")) == [
        ("expired", SANDBOX["warned_expiry_for"], None),
        ("idle", SANDBOX["warned_idle_for"], NOON),
    ]
    assert not SandboxWarning.objects.mail_due(NOON).exists()
    maintenance = Maintenance.objects.get()
    assert (maintenance.until, maintenance.message) == (NOON, "New disks.")
    assert RuntimeSettings.objects.get().overrides == {
        "SANDBOX_MAX_PER_USER": 7,
        "SANDBOX_MIN_FREE_MEMORY_MB": 256,
    }
    assert OutcomeCursor.objects.get().last_event_id == 12
    engine = Engine.objects.get()
    assert sandbox.engine == engine
    assert (engine.version, engine.disk_quota_enforced) == ("Docker 20.10", True)
    assert (engine.memory_mb, engine.disk_free_mb, engine.subnets_taken) == (16000, 50, 3)
    sweep = SweepStatus.objects.get()
    assert (sweep.last_sweep_at, sweep.seconds, sweep.orphans) == (NOON, 1.5, ["sbx_orphan"])
    assert not sweep.engine_reachable
    assert not sweep.expiration_limit_exceeded
    event = Event.objects.get()
    assert (event.created_at, event.actor_role) == (NOON, "owner")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.model) == ("olga@example.com", "suspend", "user")
    assert entry.affected_user == "alice@example.com"
    count = OutcomeCount.objects.get()
    assert (count.bucket_start, count.operation, count.launch_kind) == (NOON, "launch", "warm")
    delivery = WebhookDelivery.objects.select_related("webhook").get()
    assert (delivery.status, delivery.attempts) == ("failed", 4)
    assert (delivery.webhook.disabled_reason, delivery.webhook.leased_until) == ("gone", NOON)


def assert_restored(apps: Apps) -> None:
    for name, values in {
        "Site": SITE,
        "Sandbox": SANDBOX,
        "Tally": TALLY,
        "Event": EVENT,
        "AuditEntry": AUDIT,
    }.items():
        assert saved(apps.get_model("sandboxes", name), values) == values


OLD_PERMISSIONS = ["change_site", "view_site", "change_sitesettings", "view_tally"]
NEW_PERMISSIONS = [
    "change_maintenance",
    "view_maintenance",
    "change_runtimesettings",
    "view_outcomecount",
]


@pytest.fixture
def staff(landed: Apps) -> User:
    call_command("migrate", "sandboxes", OLD, verbosity=0)  # Creates the permissions.
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=OLD_PERMISSIONS))
    assert staff.user_permissions.count() == len(OLD_PERMISSIONS)
    return staff


def assert_permissions(staff: User, names: list[str]) -> None:
    kept = User.objects.get(pk=staff.pk).get_user_permissions()
    assert kept == {f"sandboxes.{name}" for name in names}


def assert_append_only(audit_log: type[Model]) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        QuerySet(audit_log).update(reason="forged")


def test_an_upgrade_keeps_data_permissions_and_the_audit_log_and_a_downgrade_restores_them(
    staff: User,
) -> None:
    call_command("migrate", verbosity=0)
    assert_upgraded()
    assert_permissions(staff, NEW_PERMISSIONS)
    assert_append_only(AuditEntry)

    apps = migrate_to(OLD)
    assert_restored(apps)
    assert_permissions(staff, OLD_PERMISSIONS)
    assert_append_only(apps.get_model("sandboxes", "AuditEntry"))
