"""API tokens: shown once, kept as a hash, known by their form."""

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


def test_a_token_lets_its_user_in(alice: User) -> None:
    row, text = api_tokens.issue(alice, "laptop")
    found = api_tokens.authenticate(text)
    assert found == row
    assert found and found.user == alice
    assert found.scope == Scope.ALL


def test_its_text_is_kept_nowhere(alice: User) -> None:
    row, text = api_tokens.issue(alice, "laptop")
    row.refresh_from_db()
    kept = {str(getattr(row, field.name)) for field in ApiToken._meta.concrete_fields}
    assert text not in kept
    assert not any(text[8:] in value for value in kept)
    assert row.prefix == text[:8]


def test_its_form_is_one_that_secret_scanners_can_know(alice: User) -> None:
    texts = {api_tokens.issue(alice, "many")[1] for _ in range(50)}
    assert len(texts) == 50
    assert all(re.fullmatch(r"sbp_[0-9A-Za-z]{36}", text) for text in texts)
    assert all(api_tokens.is_well_formed(text) for text in texts)


@pytest.mark.parametrize("position", [4, 17, 33, 34, 39])
def test_a_letter_that_was_mistyped_is_noticed_without_asking_the_database(
    alice: User, position: int, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    text = api_tokens.issue(alice, "laptop")[1]
    other = "x" if text[position] != "x" else "y"
    wrong = text[:position] + other + text[position + 1 :]
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert api_tokens.authenticate(wrong) is None


@pytest.mark.parametrize("text", ["", "sbp_", "sbp_" + "0" * 36, "x" * 40, "sbp_é" + "0" * 35])
def test_what_is_no_token_is_none(text: str) -> None:
    assert api_tokens.authenticate(text) is None


def test_an_expired_token_is_refused_from_that_moment_on(alice: User, clock: Clock) -> None:
    _, text = api_tokens.issue(alice, "laptop", expires_at=the_clock.now() + timedelta(hours=1))
    clock.forward(minutes=59)
    assert api_tokens.authenticate(text)
    clock.forward(minutes=1)
    assert api_tokens.authenticate(text) is None


def test_a_revoked_token_is_refused_and_kept_as_a_record(alice: User, clock: Clock) -> None:
    row, text = api_tokens.issue(alice, "laptop")
    api_tokens.revoke(row)
    row.refresh_from_db()
    revoked = row.revoked_at
    assert api_tokens.authenticate(text) is None
    clock.forward(minutes=5)
    api_tokens.revoke(row)
    row.refresh_from_db()
    assert row.revoked_at == revoked is not None


def test_tokens_of_a_closed_account_are_refused(alice: User) -> None:
    text = api_tokens.issue(alice, "laptop")[1]
    alice.is_active = False
    alice.save()
    assert api_tokens.authenticate(text) is None


def test_its_last_use_is_noted_to_the_minute(
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
