"""API tokens: shown once, stored as a hash, recognizable by their format."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandboxes.accounts import api_tokens
from sandboxes.lib import clock as the_clock
from sandboxes.models import ApiToken, Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.conftest import Clock

pytestmark = pytest.mark.django_db


def test_a_token_authenticates_its_user(alice: User) -> None:
    row, text = api_tokens.issue(alice, "laptop")
    found = api_tokens.authenticate(text)
    assert found == row
    assert found and found.user == alice
    assert found.scope == Scope.ALL


def test_the_text_of_a_token_is_not_stored(alice: User) -> None:
    row, text = api_tokens.issue(alice, "laptop")
    row.refresh_from_db()
    kept = {str(getattr(row, field.name)) for field in ApiToken._meta.concrete_fields}
    assert text not in kept
    assert not any(text[8:] in value for value in kept)
    assert row.prefix == text[:8]


def test_the_format_can_be_recognized_by_secret_scanners(alice: User) -> None:
    texts = {api_tokens.issue(alice, "many")[1] for _ in range(50)}
    assert len(texts) == 50
    assert all(re.fullmatch(r"sbp_[0-9A-Za-z]{36}", text) for text in texts)
    assert all(api_tokens.is_well_formed(text) for text in texts)


@pytest.mark.parametrize("position", [4, 17, 33, 34, 39])
def test_a_mistyped_token_is_rejected_without_a_query(
    alice: User, position: int, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    text = api_tokens.issue(alice, "laptop")[1]
    other = "x" if text[position] != "x" else "y"
    wrong = text[:position] + other + text[position + 1 :]
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert api_tokens.authenticate(wrong) is None


@pytest.mark.parametrize("text", ["", "sbp_", "sbp_" + "0" * 36, "x" * 40, "sbp_é" + "0" * 35])
def test_a_malformed_token_is_not_authenticated(text: str) -> None:
    assert api_tokens.authenticate(text) is None


def test_an_expired_token_is_rejected(alice: User, clock: Clock) -> None:
    _, text = api_tokens.issue(alice, "laptop", expires_at=the_clock.now() + timedelta(hours=1))
    clock.forward(minutes=59)
    assert api_tokens.authenticate(text)
    clock.forward(minutes=1)
    assert api_tokens.authenticate(text) is None


def test_a_revoked_token_is_rejected_and_kept_as_a_record(alice: User, clock: Clock) -> None:
    row, text = api_tokens.issue(alice, "laptop")
    api_tokens.revoke(row)
    row.refresh_from_db()
    revoked = row.revoked_at
    assert api_tokens.authenticate(text) is None
    clock.forward(minutes=5)
    api_tokens.revoke(row)
    row.refresh_from_db()
    assert row.revoked_at == revoked is not None


def test_tokens_of_a_suspended_account_are_rejected(alice: User) -> None:
    text = api_tokens.issue(alice, "laptop")[1]
    alice.is_active = False
    alice.save()
    assert api_tokens.authenticate(text) is None


def test_the_last_use_is_recorded_to_the_minute(
    alice: User, clock: Clock, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    row, text = api_tokens.issue(alice, "laptop")
    api_tokens.authenticate(text)
    row.refresh_from_db()
    first = row.last_used_at
    assert first == the_clock.now()
    clock.forward(seconds=59)
    with django_assert_num_queries(1):  # type: ignore[operator]
        api_tokens.authenticate(text)
    clock.forward(seconds=2)
    api_tokens.authenticate(text)
    row.refresh_from_db()
    assert row.last_used_at == first + timedelta(seconds=61)
