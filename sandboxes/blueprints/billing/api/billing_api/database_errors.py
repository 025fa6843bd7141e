"""What PostgreSQL refuses, as problems that a client understands."""

from __future__ import annotations

import psycopg2
from psycopg2 import errorcodes

from .web import Problem, conflict, invalid

UNIQUE_VIOLATIONS = {
    "plans_name_key": "There is another plan of that name.",
    "subscriber_email_is_unique": "There is another subscriber with that e-mail address.",
    "subscribers_stellar_address_key": "There is another subscriber with that Stellar address.",
    "one_live_subscription_to_a_plan": "The subscriber has a subscription to that plan already.",
}

CHECK_VIOLATIONS = {
    "due_after_it_is_issued": ("due_at", "it must not be before the invoice was issued"),
    "due_in_this_century": ("due_at", "it must be a date in this century"),
}

DATA_EXCEPTION_CLASS = errorcodes.CLASS_DATA_EXCEPTION
INTEGRITY_CLASS = errorcodes.CLASS_INTEGRITY_CONSTRAINT_VIOLATION
BUSY_CODES = (
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.QUERY_CANCELED,
    errorcodes.DEADLOCK_DETECTED,
)

UNAVAILABLE = "The database doesn't answer; it may be starting, or being reset. Try again soon."


def to_problem(error: psycopg2.Error) -> Problem:
    """What a failed statement means for the client."""
    code, constraint = error.pgcode or "", error.diag.constraint_name or ""
    if code == errorcodes.UNIQUE_VIOLATION:
        return conflict(UNIQUE_VIOLATIONS.get(constraint, f"It would break the rule {constraint}."))
    if constraint in CHECK_VIOLATIONS:
        return invalid(*CHECK_VIOLATIONS[constraint])
    if code.startswith(INTEGRITY_CLASS):
        return conflict(f"It would break the rule {constraint or error.diag.column_name}.")
    if code.startswith(DATA_EXCEPTION_CLASS):
        return Problem(422, f"A value can't be taken: {error.diag.message_primary}.")
    if code in BUSY_CODES:
        return unavailable("Another session holds a lock on that data for too long.")
    return unavailable(f"The database refused: {error.diag.message_primary or error}.")


def unavailable(detail: str) -> Problem:
    """A 503 that says when to try again."""
    return Problem(503, detail, headers=[("Retry-After", "1")])
