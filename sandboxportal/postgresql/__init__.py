"""Django's database backend for PostgreSQL, with a limit on the time of an answer."""

from __future__ import annotations

from django.db import connections

BACKGROUND_TIMEOUT_SECONDS = 60
"""Longer than any statement of the worker or a sweep takes, even when it deletes old data."""


def limit_answers() -> None:
    """Limit how long this process waits for an answer, unless DATABASE_TIMEOUT_SECONDS is set.

    For the worker and the reaper. Migrations and other commands may take longer.
    """
    options = connections.settings["default"].get("OPTIONS", {})
    if options.get("answer_timeout", 0) is None:
        options["answer_timeout"] = BACKGROUND_TIMEOUT_SECONDS
