"""The schema: invalid changes violate a constraint."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from tests.billing.harness import ApiClient, assert_problem

pytestmark = pytest.mark.postgres

INVALID_CHANGES = {
    "UPDATE invoices SET status = 'paid', paid_at = now() WHERE id = 'inv_007'":
        "paid_invoice_has_a_succeeded_payment",
    "UPDATE payments SET status = 'succeeded', failure_reason = NULL WHERE id = 'pay_011'":
        "succeeded_payment_has_a_paid_invoice",
    "DELETE FROM payments WHERE id = 'pay_001'": "paid_invoice_has_a_succeeded_payment",
    "UPDATE invoices SET status = 'open', paid_at = NULL WHERE id = 'inv_001'":
        "succeeded_payment_has_a_paid_invoice",
    "UPDATE invoices SET paid_at = NULL WHERE id = 'inv_001'": "paid_has_its_date",
    "UPDATE invoices SET paid_at = issued_at - interval '1 day' WHERE id = 'inv_001'":
        "paid_after_it_is_issued",
    "UPDATE invoices SET status = 'void' WHERE id = 'inv_007'": "void_has_its_date",
    "UPDATE invoices SET status = 'lost' WHERE id = 'inv_007'": "invoice_status_is_known",
    "UPDATE invoices SET issued_at = NULL WHERE id = 'inv_007'": "issued_unless_draft",
    "UPDATE invoices SET due_at = issued_at - interval '1 s' WHERE id = 'inv_007'":
        "due_after_it_is_issued",
    "UPDATE invoices SET due_at = 'infinity' WHERE id = 'inv_008'": "due_in_this_century",
    "UPDATE invoices SET subscriber_id = 'sub_010' WHERE id = 'inv_008'":
        "subscription_is_the_subscribers",
    "UPDATE invoices SET amount = 1 WHERE id = 'inv_007'": "payment_is_of_the_whole_invoice",
    "UPDATE invoices SET amount = -1 WHERE id = 'inv_008'": "amount_is_not_negative",
    "UPDATE invoices SET lines = '[]' WHERE id = 'inv_008'": "lines_add_up_to_the_amount",
    "UPDATE payments SET refunded_amount = 1000": "refunded_at_most_the_amount",
    "UPDATE payments SET refunded_amount = amount WHERE id = 'pay_001'":
        "refunded_exactly_if_all_of_it_is",
    "UPDATE payments SET settles_at = now() WHERE id = 'pay_001'": "only_pending_payments_wait",
    "UPDATE payments SET payment_method_id = 'pm_002' WHERE id = 'pay_001'":
        "payment_method_is_the_subscribers",
    "UPDATE payment_methods SET detached_at = now() WHERE id = 'pm_001'":
        "detached_method_is_not_the_default",
    "INSERT INTO payment_methods (subscriber_id, is_default) VALUES ('sub_001', true)":
        "one_default_payment_method",
    "UPDATE plans SET metadata = '{\"seats\": 5}'": "metadata_has_texts",
    "UPDATE webhook_endpoints SET url = 'ftp://example.com'": "url_is_http",
    "UPDATE webhook_endpoints SET event_types = '{invoice}'": "event_types_are_patterns",
    "UPDATE webhook_endpoints SET secret = 'secret'": "secret_is_of_standard_webhooks",
    "INSERT INTO test_clock (id) VALUES (false)": "clock_is_the_only_one",
    "UPDATE invoices SET currency = 'JPY' WHERE id = 'inv_008'": "currency_is_known",
    "UPDATE invoices SET period_end = period_start WHERE id = 'inv_008'":
        "invoice_period_ends_after_it_starts",
    "UPDATE payments SET amount = 1 WHERE id = 'pay_007'": "payment_is_of_the_whole_invoice",
    "UPDATE payments SET status = 'failed', processed_at = now() WHERE id = 'pay_007'":
        "failed_has_its_reason",
    "UPDATE payments SET refunded_at = now() WHERE id = 'pay_011'": "refunded_has_its_date",
    "UPDATE subscriptions SET status = 'paused' WHERE id = 'sbn_001'": "paused_has_its_date",
    "UPDATE subscriptions SET canceled_at = now() WHERE id = 'sbn_001'": "canceled_has_its_date",
    "UPDATE subscriptions SET trial_end = NULL WHERE id = 'sbn_003'": "trial_has_an_end",
    "UPDATE subscriptions SET current_period_end = started_at WHERE id = 'sbn_001'":
        "period_ends_after_it_starts",
    "INSERT INTO subscriptions SELECT 'sbn_x', subscriber_id, plan_id, status, started_at,"
    " current_period_start, current_period_end FROM subscriptions WHERE id = 'sbn_001'":
        "one_live_subscription_to_a_plan",
    "UPDATE subscribers SET email = 'MATEO.rossi@example.org' WHERE id = 'sub_001'":
        "subscriber_email_is_unique",
    "UPDATE subscribers SET email = 'nobody' WHERE id = 'sub_001'": "email_looks_like_one",
    "UPDATE subscribers SET stellar_address = 'GABC' WHERE id = 'sub_001'":
        "stellar_address_looks_like_one",
    "DELETE FROM plans WHERE id = 'plan_team'": "subscriptions_plan_id_fkey",
    "UPDATE plans SET id = 'team' WHERE id = 'plan_classic'": "plan_id_has_its_prefix",
    "UPDATE plans SET billing_interval = 'week'": "billing_interval_is_known",
    "UPDATE plans SET amount = 'NaN'": "amount_is_positive",
    "UPDATE plans SET description = repeat('x', 501)": "plan_description_is_short",
    "UPDATE plans SET name = repeat(' ', 1000000) || 'x' WHERE id = 'plan_team'":
        "plan_name_is_short",
    "UPDATE subscribers SET name = '  '": "subscriber_name_is_short",
    "UPDATE subscribers SET company = repeat('x', 501)": "company_is_short",
    "UPDATE invoices SET description = repeat('x', 501)": "invoice_description_is_short",
    "UPDATE invoices SET number = repeat('1', 51) WHERE id = 'inv_001'": "invoice_number_is_short",
    "UPDATE payments SET failure_reason = 'Not a word' WHERE id = 'pay_011'":
        "failure_reason_is_a_word",
}  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "constraint"), INVALID_CHANGES.items(), ids=INVALID_CHANGES.values()
)
def test_an_invalid_change_violates_the_expected_constraint(
    rollback_db: psycopg.Connection, statement: str, constraint: str
) -> None:
    with pytest.raises(errors.IntegrityError) as raised:
        rollback_db.execute(f"{statement}; SET CONSTRAINTS ALL IMMEDIATE")
    assert raised.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    "moment", ["0001-12-31 23:00:00Z BC", "-infinity", "infinity", "10000-01-01 00:00:00Z"]
)
def test_no_time_is_outside_of_the_years_that_the_api_can_return(
    rollback_db: psycopg.Connection, moment: str
) -> None:
    times = rollback_db.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " NATURAL JOIN information_schema.tables"
        " WHERE data_type LIKE 'timestamp%' AND table_schema = 'public'"
        " AND table_type = 'BASE TABLE' AND table_name NOT IN ('idempotency_keys', 'faults')"
        " AND column_name <> 'updated_at'"
    ).fetchall()
    assert len(times) == 40
    for table, column in times:
        with pytest.raises(errors.CheckViolation), rollback_db.transaction():
            rollback_db.execute(f"UPDATE {table} SET {column} = %s", [moment])
    untouched = {"test_clock", "events", "webhook_deliveries", "requests"} | {"stellar_transfers"}
    for table in {table for table, _ in times} - untouched:
        rollback_db.execute(f"ALTER TABLE {table} DISABLE TRIGGER touch")
        with pytest.raises(errors.CheckViolation), rollback_db.transaction():
            rollback_db.execute(f"UPDATE {table} SET updated_at = %s", [moment])


def test_a_value_that_the_api_cannot_return_is_reported(
    api: ApiClient, db: psycopg.Connection
) -> None:
    db.execute("ALTER TABLE plans DROP CONSTRAINT plan_times_are_in_range")
    for moment in ("10000-01-01 00:00:00Z", "0001-12-31 00:00:00Z BC"):
        db.execute("UPDATE plans SET created_at = %s WHERE id = 'plan_team'", [moment])
        for path in ("/v1/plans", "/v1/plans/plan_team"):
            assert_problem(api.get(path), 503, "plans", "SQL")
    assert api.ok("GET", "/v1/plans/plan_starter")


def test_an_invoice_can_be_paid_in_sql_together_with_its_payment(db: psycopg.Connection) -> None:
    with db.transaction():
        db.execute("UPDATE invoices SET status = 'paid', paid_at = now() WHERE id = 'inv_007'")
        db.execute(
            "UPDATE payments SET status = 'succeeded', processed_at = now() WHERE id = 'pay_007'"
        )
    assert db.execute("SELECT status FROM invoices WHERE id = 'inv_007'").fetchone() == ("paid",)


def test_a_row_inserted_in_sql_gets_an_id_with_its_prefix(db: psycopg.Connection) -> None:
    row = db.execute(
        "INSERT INTO subscribers (name, email, country) VALUES ('A', 'a@example.com', 'DE')"
        " RETURNING id ~ '^sub_[0-9a-f]{20}$', stellar_address"
    ).fetchone()
    assert row == (True, None)


def test_a_change_sets_updated_at(db: psycopg.Connection) -> None:
    row = db.execute(
        "UPDATE plans SET description = 'x' WHERE id = 'plan_team'"
        " RETURNING updated_at > now() - interval '1 minute', created_at < updated_at"
    ).fetchone()
    assert row == (True, True)


def test_the_developer_owns_everything_in_the_database_and_nothing_outside(
    db: psycopg.Connection,
) -> None:
    for allowed in (
        "DROP TABLE payments CASCADE",
        "CREATE SCHEMA mine",
        "CREATE TABLE mine.notes (text text)",
        "ALTER TABLE plans ADD COLUMN colour text",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
    ):
        db.execute(allowed)  # type: ignore[arg-type]
    for forbidden in (
        "CREATE DATABASE other",
        "CREATE ROLE friend",
        "ALTER ROLE developer SUPERUSER",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            db.execute(forbidden)  # type: ignore[arg-type]
