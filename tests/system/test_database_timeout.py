"""How long the processes wait for an answer from PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from sandboxportal.celery import limit_database_answers
from sandboxportal.postgresql import BACKGROUND_TIMEOUT_SECONDS, limit_answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return the options of the database, as they are without DATABASE_TIMEOUT_SECONDS."""
    found = {"answer_timeout": None}
    with monkeypatch.context() as patch:
        patch.setitem(connections.settings["default"], "OPTIONS", found)
        yield found


def test_the_worker_and_the_reaper_do_not_wait_for_a_database_without_end(
    options: dict[str, Any],
) -> None:
    call_command("reap_sandboxes", dry_run=True)
    assert options["answer_timeout"] == BACKGROUND_TIMEOUT_SECONDS
    options["answer_timeout"] = None
    limit_database_answers()
    assert options["answer_timeout"] == BACKGROUND_TIMEOUT_SECONDS


@pytest.mark.parametrize("seconds", [0, 5])
def test_the_operators_time_is_kept(options: dict[str, Any], seconds: float) -> None:
    options["answer_timeout"] = seconds
    limit_answers()
    assert options == {"answer_timeout": seconds}


def test_sqlite_has_no_such_limit(options: dict[str, Any]) -> None:
    del options["answer_timeout"]
    limit_answers()
    assert options == {}
