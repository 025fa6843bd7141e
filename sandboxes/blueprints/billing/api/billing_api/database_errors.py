"""Translate errors of PostgreSQL to problems that clients understand."""

from __future__ import annotations

import psycopg2
from psycopg2 import errorcodes

from .web import Problem, conflict, invalid, unavailable

UNIQUE_VIOLATIONS = {
    "plans_name_key": "A plan with this name already exists.",
    "subscriber_email_is_unique": "A subscriber with this email address already exists.",
    "subscribers_stellar_address_key": "A subscriber with this Stellar address already exists.",
    "one_live_subscription_to_a_plan": "The subscriber already has a subscription to this plan.",
}

CHECK_VIOLATIONS = {
    "amount_is_positive": ("amount", "must be positive"),
    "company_is_short": ("company", "must have at most 500 characters"),
    "country_has_two_letters": ("country", "must be two capital letters, such as DE"),
    "due_after_it_is_issued": ("due_at", "must not be before the invoice was issued"),
    "due_in_this_century": ("due_at", "must be a date in this century"),
    "email_looks_like_one": ("email", "must be an email address, such as ada@example.com"),
    "failure_reason_is_a_word": ("failure_reason", "must be lower-case letters, digits and _"),
    "invoice_description_is_short": ("description", "must have at most 500 characters"),
    "plan_description_is_short": ("description", "must have at most 500 characters"),
    "plan_name_is_short": ("name", "must have 1 to 80 characters"),
    "stellar_address_looks_like_one": ("stellar_address", "must be a Stellar account address"),
    "subscriber_name_is_short": ("name", "must have 1 to 120 characters"),
    "trial_days_are_sane": ("trial_days", "must be 0 to 365"),
}
"""Constraints on one value. The API checks them first; these are for differences in detail."""

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
