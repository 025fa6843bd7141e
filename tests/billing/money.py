"""Random operations on a billing API, and what must hold after any of them.

`python -m tests.billing.money URL KEY DATABASE_URL [OPERATIONS]` runs 10,000 by default against a
sandbox, from eight threads.
"""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from tests.billing.harness import ApiClient

PLANS = ("plan_starter", "plan_team", "plan_business", "plan_team_yearly")
TEST_VALUES = (
    "succeeds",
    "card_declined",
    "succeeds_after_1_retry",
    "settles_later",
    "fails_later",
)

# Each query finds rows that contradict each other.
CONTRADICTIONS = {
    "an invoice whose lines don't add up to its amount": """
        SELECT id FROM invoices WHERE billing.total(lines) <> amount""",
    "a paid invoice without exactly one payment of its amount": """
        SELECT i.id FROM invoices i WHERE status = 'paid' AND amount > 0 AND amount <> (
            SELECT sum(p.amount) FROM payments p
            WHERE p.invoice_id = i.id AND p.status = 'succeeded')""",
    "a succeeded payment of an invoice that isn't paid": """
        SELECT p.id FROM payments p JOIN invoices i ON i.id = p.invoice_id
        WHERE p.status = 'succeeded' AND i.status <> 'paid'""",
    "refunds that differ from what was refunded": """
        SELECT p.id FROM payments p WHERE refunded_amount <> (
            SELECT coalesce(sum(r.amount), 0) FROM refunds r WHERE r.payment_id = p.id)""",
    "a credit that appeared or vanished": """
        SELECT s.id FROM subscriptions s, LATERAL (
            SELECT pending_lines AS lines UNION ALL
            SELECT lines FROM invoices i WHERE i.subscription_id = s.id) AS t,
            jsonb_array_elements(t.lines) AS line
        WHERE line ->> 'type' = 'credit'
        GROUP BY s.id HAVING sum((line ->> 'amount')::numeric) <> 0""",
}


def contradictions(database: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows that contradict each other, by rule."""
    found = {
        rule: database.execute(query).fetchall()  # type: ignore[arg-type]
        for rule, query in CONTRADICTIONS.items()
    }
    return {rule: rows for rule, rows in found.items() if rows}


def operate(api: ApiClient, chance: random.Random) -> int:
    """Send a random request that moves money, and return its status."""

    def one_of(resource: str) -> str:
        rows = api.get(f"/v1/{resource}?limit=100").json()["data"]
        return str(chance.choice(rows)["id"])

    def amount() -> str:
        return f"{chance.randint(1, 9000) / 100:.2f}"

    subscriber = f"sub_{chance.randint(1, 10):03}"
    plan = chance.choice(PLANS)
    requests: list[tuple[str, str, Any]] = [
        ("POST", "subscriptions", {"subscriber_id": subscriber, "plan_id": plan}),
        (
            "PATCH",
            "subscriptions/{}",
            {"plan_id": plan, "proration": chance.choice(["none", "next_invoice", "invoice_now"])},
        ),
        ("POST", "subscriptions/{}/cancel", None),
        ("POST", "subscriptions/{}/pause", None),
        ("POST", "subscriptions/{}/resume", None),
        ("POST", "invoices", {"subscriber_id": subscriber, "amount": amount(), "currency": "EUR"}),
        ("POST", "invoices/{}/pay", None),
        ("POST", "invoices/{}/void", None),
        ("POST", "invoices/{}/write-off", None),
        ("PATCH", "payments/{}", {"status": chance.choice(["succeeded", "failed"])}),
        ("POST", "payments/{}/refund", {"amount": amount()}),
        ("POST", "payments/{}/refund", None),
        (
            "POST",
            "payment_methods",
            {"subscriber_id": subscriber, "test_value": chance.choice(TEST_VALUES)},
        ),
        ("POST", "test_clock", {"advance_by": f"P{chance.randint(1, 20)}D"}),
    ]
    method, path, body = chance.choice(requests)
    if "{}" in path:
        path = path.format(one_of(path.partition("/")[0]))
    options = {} if body is None else {"json": body}
    return api.request(method, f"/v1/{path}", **options).status_code


def main(url: str, key: str, database_url: str, operations: str = "10000") -> None:
    """Run random operations from eight threads, and raise AssertionError on a contradiction."""

    def run(seed: int) -> list[int]:
        chance = random.Random(seed)
        with ApiClient(url, key) as api:
            return [operate(api, chance) for _ in range(int(operations) // 8)]

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for found in pool.map(run, range(8)) for status in found]
    with psycopg.connect(database_url) as database:
        assert contradictions(database) == {}
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    sys.stdout.write(f"No contradictions after {len(statuses)} operations: {counts}\n")
    assert 500 not in counts, "a server error"


if __name__ == "__main__":
    main(*sys.argv[1:])
