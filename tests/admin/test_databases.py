"""The admin on SQLite and PostgreSQL: an immutable audit log and a fast overview."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from time import perf_counter
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sandboxes import actions
from sandboxes.metrics import outcomes
from sandboxes.models import AuditEntry, OutcomeCount, Sandbox
from sandboxes.models.abstract.append_only import trigger_sql
from sandboxes.models.runtime_settings import config as in_force
from sandboxes.operators import audit
from tests.harness import bulk_data
from tests.harness.databases import allow_deleting_audit_entries, run_in_threads
from tests.helpers.scenarios import launch
from tests.helpers.wait import wait_for

pytestmark = [
    pytest.mark.usefixtures("shared_database", "queued_tasks", "runtime"),
    pytest.mark.store,
]

TABLE = AuditEntry._meta.db_table


@pytest.fixture
def olga(shared_database: None) -> Any:
    return get_user_model().objects.create_superuser("olga", "olga@example.com")


@pytest.fixture
def guarded(shared_database: None) -> Iterator[None]:
    """Restore the triggers that other tests removed."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(trigger_sql("sqlite", TABLE)[1])
    yield
    allow_deleting_audit_entries()


@pytest.mark.parametrize("statement", ["UPDATE {} SET reason = 'else'", "DELETE FROM {}"])
def test_the_database_rejects_changes_of_the_audit_log(
    olga: Any, guarded: None, statement: str
) -> None:
    audit.record(audit.AuditActor(olga), "suspend", olga, "Mining coins.")
    with (
        connection.cursor() as cursor,
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
    ):
        cursor.execute(statement.format(TABLE))

    assert AuditEntry.objects.get().reason == "Mining coins."


def look(admin_client: Client) -> float:
    """Return the response time of the overview in seconds."""
    began = perf_counter()
    assert "Capacity" in admin_client.get("/admin/").content.decode()
    return perf_counter() - began


def multiply(sandbox: Sandbox, count: int) -> None:
    """Insert copies of the sandbox with one query."""
    columns = [field.column for field in Sandbox._meta.concrete_fields if field.name != "id"]
    values = ["'sbx_' || n" if name == "public_id" else name for name in columns]
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < %s) "
            f"INSERT INTO sandboxes_sandbox ({', '.join(columns)}) "
            f"SELECT {', '.join(values)} FROM sandboxes_sandbox, many WHERE id = %s",
            [count, sandbox.pk],
        )
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE sandboxes_sandbox")


def busy_week() -> None:
    """Insert launch counts of each kind for every five minutes of a week."""
    now, kinds = outcomes.bucket_start(timezone.now()), (("warm", "ready"), ("cold", "ready"))
    total = outcomes.Histogram()
    total.add(1.2)
    OutcomeCount.objects.bulk_create(
        OutcomeCount(
            bucket_start=now - n * outcomes.BUCKET_SPAN,
            operation="launch",
            launch_kind=start,
            result=result,
            **asdict(total),
        )
        for n in range(7 * 288)
        for start, result in (*kinds, ("cold", "failed"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("past", [1_000, pytest.param(100_000, marks=pytest.mark.exhaustive)])
def test_the_overview_is_fast_with_many_past_sandboxes(olga: Any, past: int) -> None:
    admin_client = Client()
    admin_client.force_login(olga)
    bulk_data.create_running(30, olga)
    look(admin_client)
    with CaptureQueriesContext(connection) as few:
        look(admin_client)
    bulk_data.create_ended(1)
    multiply(Sandbox.objects.ended().get(), past)
    busy_week()
    in_force.refresh()
    with CaptureQueriesContext(connection) as many:
        look(admin_client)

    assert len(many) == len(few) < 16
    # Other processes may slow some attempts down, but not all.
    wait_for(lambda: look(admin_client) < 0.3, "the page is fast", 20)


def test_concurrent_aggregation_counts_each_event_once(olga: Any, settings: Any) -> None:
    settings.SANDBOX_MAX_PER_USER = 10
    for _ in range(5):
        actions.destroy(launch(olga), olga)
    later = outcomes.SETTLE_DELAY

    def count(_number: int) -> None:
        outcomes.aggregate_events()

    tallies_settled = pytest.MonkeyPatch()
    tallies_settled.setattr(outcomes, "SETTLE_DELAY", -later)
    run_in_threads(6, count)
    tallies_settled.undo()

    counted = OutcomeCount.objects.filter(bucket_start__year=1970, operation="launch").values_list(
        "count", flat=True
    )
    assert list(counted) == [5]
    assert Sandbox.objects.count() == 5
