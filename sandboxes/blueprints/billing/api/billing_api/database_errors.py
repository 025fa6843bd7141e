"""Translate errors of PostgreSQL to problems that clients understand."""

from __future__ import annotations

import psycopg2
from psycopg2 import errorcodes

from .web import Problem, conflict, invalid

UNIQUE_VIOLATIONS = {
    "plans_name_key": "A plan with this name already exists.",
    "subscriber_email_is_unique": "A subscriber with this email address already exists.",
    "subscribers_stellar_address_key": "A subscriber with this Stellar address already exists.",
    "one_live_subscription_to_a_plan": "The subscriber already has a subscription to this plan.",
}

CHECK_VIOLATIONS = {
    "due_after_it_is_issued": ("due_at", "must not be before the invoice was issued"),
    "due_in_this_century": ("due_at", "must be a date in this century"),
}

DATA_EXCEPTION_CLASS = errorcodes.CLASS_DATA_EXCEPTION
INTEGRITY_CLASS = errorcodes.CLASS_INTEGRITY_CONSTRAINT_VIOLATION
BUSY_CODES = (
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.QUERY_CANCELED,
    errorcodes.DEADLOCK_DETECTED,
)

UNAVAILABLE = "The database is not available; it may be starting or being reset. Try again shortly."


def to_problem(error: psycopg2.Error) -> Problem:
    """Return the problem that a failed statement means for the client."""
    code, constraint = error.pgcode or "", error.diag.constraint_name or ""
    if code == errorcodes.UNIQUE_VIOLATION:
        message = f"This would violate the constraint {constraint}."
        return conflict(UNIQUE_VIOLATIONS.get(constraint, message))
    if constraint in CHECK_VIOLATIONS:
        return invalid(*CHECK_VIOLATIONS[constraint])
    if code.startswith(INTEGRITY_CLASS):
        name = constraint or error.diag.column_name
        return conflict(f"This would violate the constraint {name}.")
    if code.startswith(DATA_EXCEPTION_CLASS):
        return Problem(422, f"Invalid value: {error.diag.message_primary}.")
    if code in BUSY_CODES:
        return unavailable("Another session holds a lock on this data. Try again later.")
    return unavailable(f"Database error: {error.diag.message_primary or error}.")


def unavailable(detail: str) -> Problem:
    """Return a 503 problem with `Retry-After`."""
    return Problem(503, detail, headers=[("Retry-After", "1")])
