"""Every migration leads back, with data in the tables, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from sandboxes import actions
from sandboxes.accounts import api_tokens
from sandboxes.metrics import outcomes
from sandboxes.models import (
    AuditEntry,
    Event,
    LimitOverride,
    OutcomeCount,
    Pool,
    Sandbox,
    UsageSample,
)
from sandboxes.models.append_only import trigger_sql
from sandboxes.operators import audit
from sandboxes.reaper.sweep import Sweep
from tests.harness.databases import let_tests_empty_it
from tests.helpers.scenarios import launch

pytestmark = [pytest.mark.usefixtures("shared_database", "runtime"), pytest.mark.store]

STAYS = (User, Sandbox, Event)
"""What the first migration made, or Django's own: it is there at every step."""
CAME_LATER = (AuditEntry, Pool, OutcomeCount, UsageSample)


def in_order() -> list[str]:
    """Our migrations as they are applied."""
    graph = MigrationExecutor(connection).loader.graph
    plan = [node for leaf in graph.leaf_nodes("sandboxes") for node in graph.forwards_plan(leaf)]
    return list(dict.fromkeys(name for app, name in plan if app == "sandboxes"))


def applied() -> set[str]:
    rows = MigrationRecorder(connection).applied_migrations()
    return {name for app, name in rows if app == "sandboxes"}


def rows() -> list[int]:
    """How many, by SQL: models know columns that come and go."""
    with connection.cursor() as cursor:
        counted = []
        for model in STAYS:
            cursor.execute(f"SELECT count(*) FROM {model._meta.db_table}")
            counted.append(cursor.fetchone()[0])
    return counted


@pytest.fixture
def data(shared_database: None) -> Iterator[None]:
    """Rows in the tables, and the audit guarded as in service."""
    alice = User.objects.create_user("alice", "alice@example.com")
    olga = User.objects.create_superuser("olga", "olga@example.com")
    api_tokens.issue(alice, "a program")
    Pool.objects.get_or_create(blueprint="billing")
    LimitOverride.objects.create(user=alice, max_active=5, reason="She tests a lot.")
    sandbox, ended = launch(alice), launch(alice)
    actions.extend(sandbox, 30, alice)
    actions.destroy(ended, alice)
    Sweep().run()
    outcomes.record_engine_error("create")
    audit.record(audit.AuditActor(olga), "suspend", alice, "Mining coins.")
    assert [model for model in (*STAYS, *CAME_LATER) if not model.objects.exists()] == []
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(trigger_sql("sqlite", AuditEntry._meta.db_table)[1])
    yield
    let_tests_empty_it()


def test_each_leads_back_and_all_lead_forward_again(data: None) -> None:
    names, before = in_order(), rows()
    for count in range(len(names) - 1, 0, -1):
        call_command("migrate", "sandboxes", names[count - 1], verbosity=0)
        assert applied() == set(names[:count])
        assert rows() == before
    call_command("migrate", "sandboxes", "zero", verbosity=0)
    tables = connection.introspection.table_names()
    assert [name for name in tables if name.startswith("sandboxes_")] == []

    call_command("migrate", verbosity=0)
    assert applied() == set(names)
    assert User.objects.count() == before[0]
    assert not Sandbox.objects.exists()


def test_settings_changed_in_the_admin_keep_their_values_under_new_names(data: None) -> None:
    call_command("migrate", "sandboxes", "0011_requests", verbosity=0)
    state = MigrationExecutor(connection).loader.project_state(("sandboxes", "0011_requests"))
    sites = state.apps.get_model("sandboxes", "Site").objects
    sites.update_or_create(pk=1, defaults={"tuned": {"SANDBOX_MEMORY_FLOOR_MB": 256}})

    call_command("migrate", "sandboxes", "0012_renamed_settings", verbosity=0)
    assert sites.get().tuned == {"SANDBOX_MIN_FREE_MEMORY_MB": 256}

    call_command("migrate", "sandboxes", "0011_requests", verbosity=0)
    assert sites.get().tuned == {"SANDBOX_MEMORY_FLOOR_MB": 256}
    call_command("migrate", verbosity=0)
