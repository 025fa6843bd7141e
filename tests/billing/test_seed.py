"""The seed: exact row counts, and no contradictions in the data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from stellar_sdk import StrKey

from sandboxes.blueprints import load
from tests.billing.conftest import Connect, load_seed

pytestmark = pytest.mark.postgres

STATUSES = {
    "subscriptions": {"trialing", "active", "past_due", "paused", "canceled"},
    "invoices": {"draft", "open", "paid", "void", "uncollectible"},
    "payments": {"pending", "succeeded", "failed", "refunded"},
}

# Each query finds rows that violate a rule of the seed.
CONTRADICTIONS = {
    "an invoice whose amount differs from its plan": """
        SELECT i.id FROM invoices i JOIN subscriptions s ON s.id = i.subscription_id
        JOIN plans p ON p.id = s.plan_id
        WHERE (i.amount, i.currency) IS DISTINCT FROM (p.amount, p.currency)""",
    "a paid invoice without a succeeded payment at the same time": """
        SELECT i.id FROM invoices i LEFT JOIN payments p
        ON p.invoice_id = i.id AND p.status = 'succeeded' AND p.processed_at = i.paid_at
        WHERE i.status = 'paid' AND p.id IS NULL""",
    "a payment that differs from its invoice": """
        SELECT p.id FROM payments p JOIN invoices i ON i.id = p.invoice_id
        WHERE (p.amount, p.currency, p.subscriber_id)
            IS DISTINCT FROM (i.amount, i.currency, i.subscriber_id)""",
    "a payment of a draft, or from before the invoice was issued": """
        SELECT p.id FROM payments p JOIN invoices i ON i.id = p.invoice_id
        WHERE i.issued_at IS NULL OR p.created_at < i.issued_at""",
    "a payment that was processed before it was created": """
        SELECT id FROM payments WHERE processed_at < created_at""",
    "an invoice for a period that is not one of the subscription": """
        SELECT i.id FROM invoices i JOIN subscriptions s ON s.id = i.subscription_id
        JOIN plans p ON p.id = s.plan_id
        WHERE NOT EXISTS (
            SELECT FROM generate_series(0, 24) n, LATERAL (
                SELECT coalesce(s.trial_end, s.started_at) AS first,
                       ('1 ' || p.billing_interval)::interval AS step) c
            WHERE i.period_start = c.first + n * c.step
              AND i.period_end = c.first + (n + 1) * c.step)""",
    "a period that is billed twice": """
        SELECT min(id) FROM invoices GROUP BY subscription_id, period_start HAVING count(*) > 1""",
    "a gap between billed periods": """
        SELECT s.id FROM subscriptions s JOIN invoices i ON i.subscription_id = s.id
        WHERE s.status <> 'trialing' GROUP BY s.id
        HAVING count(*) <> count(*) FILTER (WHERE i.period_start <= s.current_period_start)
            OR min(i.period_start) <> s.started_at
            OR max(i.period_start) <> s.current_period_start""",
    "a live subscription whose current period is not current": """
        SELECT id FROM subscriptions WHERE status <> 'canceled'
        AND NOT (current_period_start <= %(now)s AND current_period_end > %(now)s)""",
    "a trial that has ended, or that differs from the period": """
        SELECT id FROM subscriptions WHERE status = 'trialing'
        AND (trial_end <= %(now)s OR trial_end <> current_period_end)""",
    "a pause or cancellation outside the current period": """
        SELECT id FROM subscriptions WHERE coalesce(paused_at, canceled_at)
        NOT BETWEEN current_period_start AND current_period_end""",
    "a past due subscription without an overdue invoice and a failed payment": """
        SELECT s.id FROM subscriptions s WHERE s.status = 'past_due' AND NOT EXISTS (
            SELECT FROM invoices i JOIN payments p ON p.invoice_id = i.id
            WHERE i.subscription_id = s.id AND i.status = 'open' AND i.due_at < %(now)s
              AND p.status = 'failed')""",
    "an overdue invoice of a subscription that isn't past due": """
        SELECT i.id FROM invoices i JOIN subscriptions s ON s.id = i.subscription_id
        WHERE i.status = 'open' AND i.due_at < %(now)s AND s.status <> 'past_due'""",
    "a subscriber created after the subscription": """
        SELECT s.id FROM subscriptions s JOIN subscribers u ON u.id = s.subscriber_id
        WHERE u.created_at > s.created_at""",
    "a plan created after a subscription to it": """
        SELECT s.id FROM subscriptions s JOIN plans p ON p.id = s.plan_id
        WHERE p.created_at > s.created_at""",
    "an update before the creation, or in the future": """
        SELECT id FROM (SELECT id, created_at, updated_at FROM plans
            UNION ALL SELECT id, created_at, updated_at FROM subscribers
            UNION ALL SELECT id, created_at, updated_at FROM subscriptions
            UNION ALL SELECT id, created_at, updated_at FROM invoices
            UNION ALL SELECT id, created_at, updated_at FROM payments) r
        WHERE created_at > updated_at OR updated_at > %(now)s""",
    "a past event dated in the future": """
        SELECT id FROM invoices
        WHERE greatest(issued_at, paid_at, voided_at, uncollectible_at) > %(now)s
        UNION ALL SELECT id FROM payments WHERE greatest(processed_at, refunded_at) > %(now)s
        UNION ALL SELECT id FROM subscriptions
        WHERE greatest(started_at, paused_at, canceled_at) > %(now)s""",
    "a date that passes during the lifetime of a sandbox": """
        SELECT id FROM (SELECT id, due_at AS at FROM invoices
            UNION ALL SELECT id, current_period_end FROM subscriptions
            UNION ALL SELECT id, trial_end FROM subscriptions) r
        WHERE at BETWEEN %(now)s AND %(now)s + interval '4 hours'""",
    "a due date that passes within a day in the pool and a full lifetime": """
        SELECT id FROM (SELECT id, due_at AS at FROM invoices WHERE status IN ('draft', 'open')
            UNION ALL SELECT id, current_period_end FROM subscriptions
            UNION ALL SELECT id, trial_end FROM subscriptions) r
        WHERE at BETWEEN %(now)s AND %(now)s + interval '28 hours'""",
}  # fmt: skip


def contradictions(connection: psycopg.Connection, now: datetime) -> dict[str, list[tuple[str]]]:
    results = {
        rule: connection.execute(query, {"now": now}).fetchall()
        for rule, query in CONTRADICTIONS.items()
    }
    return {rule: rows for rule, rows in results.items() if rows}


def test_the_seed_has_the_number_of_rows_that_the_blueprint_states(
    rollback_db: psycopg.Connection,
) -> None:
    stated = load("billing").seed
    assert stated == {"plans": 5, "subscribers": 10, "invoices": 20}
    for table, count in stated.items():
        assert rollback_db.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)


@pytest.mark.parametrize("table", STATUSES)
def test_every_status_occurs(rollback_db: psycopg.Connection, table: str) -> None:
    rows = rollback_db.execute(f"SELECT DISTINCT status FROM {table}").fetchall()
    assert {status for (status,) in rows} == STATUSES[table]


def test_several_currencies_and_both_intervals_occur(rollback_db: psycopg.Connection) -> None:
    rows = rollback_db.execute("SELECT currency, billing_interval, active FROM plans").fetchall()
    assert len({currency for currency, _, _ in rows}) >= 3
    assert {interval for _, interval, _ in rows} == {"month", "year"}
    assert {active for _, _, active in rows} == {True, False}


def test_money_has_two_decimals(rollback_db: psycopg.Connection) -> None:
    for (amount,) in rollback_db.execute("SELECT amount FROM invoices").fetchall():
        assert isinstance(amount, Decimal) and amount.as_tuple().exponent == -2


def test_subscribers_have_email_addresses_of_example_domains(
    rollback_db: psycopg.Connection,
) -> None:
    rows = rollback_db.execute("SELECT email, name, country FROM subscribers").fetchall()
    assert all(e.split("@")[1] in ("example.com", "example.org", "example.net") for e, _, _ in rows)
    assert len({name for _, name, _ in rows}) == len(rows) == len({c for _, _, c in rows})


def test_every_stellar_address_has_a_valid_checksum(rollback_db: psycopg.Connection) -> None:
    rows = rollback_db.execute("SELECT stellar_address FROM subscribers").fetchall()
    assert len(rows) == 10
    assert all(StrKey.is_valid_ed25519_public_key(address) for (address,) in rows)


def test_invoice_numbers_continue_after_the_seed(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO invoices (subscriber_id, status, amount, currency)"
        " VALUES ('sub_001', 'draft', 1, 'USD')"
    )
    assert db.execute("SELECT max(number) FROM invoices").fetchone() == ("INV-1021",)


def test_the_seed_has_no_contradictions(
    rollback_db: psycopg.Connection, launched_at: datetime
) -> None:
    assert contradictions(rollback_db, launched_at) == {}


COUNTS = {
    "empty": (5, 0, 0, 0, 0),
    "dunning": (5, 22, 22, 50, 75),
    "large": (5, 1010, 1010, 3020, 2922),
}
"""Rows of plans, subscribers, subscriptions, invoices and payments."""
DAYS = [datetime(2027, 3, 1, tzinfo=UTC), datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)]


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "counts"), COUNTS.items())
def test_a_scenario_has_its_rows_and_no_contradictions(
    connect: Connect, empty_database: str, scenario: str, counts: tuple[int, ...]
) -> None:
    connection = connect(empty_database, autocommit=False)
    for launch in DAYS:
        load_seed(connection, launch, scenario)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        tables = ("plans", "subscribers", "subscriptions", "invoices", "payments")
        found = [connection.execute(f"SELECT count(*) FROM {name}").fetchall() for name in tables]
        assert [count for [(count,)] in found] == list(counts)
        assert contradictions(connection, launch) == {}, launch
        connection.rollback()


def test_dunning_has_past_due_subscriptions_with_failed_payments_and_retries(
    connect: Connect, empty_database: str
) -> None:
    connection = connect(empty_database, autocommit=False)
    load_seed(connection, DAYS[0], "dunning")
    attempts = connection.execute(
        "SELECT s.status, count(*) FILTER (WHERE p.status = 'failed') FROM subscriptions s"
        " JOIN invoices i ON i.subscription_id = s.id JOIN payments p ON p.invoice_id = i.id"
        " WHERE s.id > 'sbn_0' AND s.id < 'sbn_1' AND s.id ~ '^sbn_....$'"
        " GROUP BY s.id ORDER BY s.id"
    ).fetchall()
    connection.rollback()

    past_due = [failed for status, failed in attempts if status == "past_due"]
    assert sorted(past_due) == [2, 2, 2, 3, 3, 3, 4, 4, 4, 4]
    assert attempts[10:] == [("active", 1), ("active", 1)], "these recovered"


@pytest.mark.parametrize(("year", "hour"), [(2027, 0), (2028, 23)])
def test_the_seed_has_no_contradictions_on_any_day_of_the_year(
    connect: Connect, empty_database: str, year: int, hour: int
) -> None:
    connection = connect(empty_database, autocommit=False)
    start = datetime(year, 1, 1, hour, 59, 59, tzinfo=UTC)
    days = (start + timedelta(days=day) for day in range(366))
    for launch in (day for day in days if day.day in (1, 2, 15, 28, 29, 30, 31)):
        load_seed(connection, launch)
        assert contradictions(connection, launch) == {}, launch
        connection.rollback()


def test_the_same_time_of_launch_gives_the_same_rows(connect: Connect, empty_database: str) -> None:
    connection = connect(empty_database, autocommit=False)
    results = []
    for zone in ("UTC", "Pacific/Auckland"):
        connection.execute(f"SET LOCAL timezone = '{zone}'")
        load_seed(connection, datetime(2026, 3, 31, 23, 30, tzinfo=UTC))
        rows = connection.execute(
            "SELECT i.*, p.* FROM invoices i LEFT JOIN payments p ON p.invoice_id = i.id"
            " ORDER BY i.id, p.id"
        )
        results.append(rows.fetchall())
        connection.rollback()
    assert results[0] == results[1]
