"""Renamed management commands also work under their old names for one release."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.django_db
def test_make_demo_accounts_warns_and_creates_the_accounts() -> None:
    output, errors = StringIO(), StringIO()
    call_command("make_demo_accounts", "--print", stdout=output, stderr=errors)
    assert "developer@" in output.getvalue()
    assert errors.getvalue() == "make_demo_accounts is deprecated; use create_demo_accounts.\n"


def test_clear_engine_warns_and_still_asks_for_confirmation() -> None:
    errors = StringIO()
    with pytest.raises(CommandError, match="--yes"):
        call_command("clear_engine", stderr=errors)
    assert errors.getvalue() == "clear_engine is deprecated; use purge_engine.\n"
