"""The demo accounts: they work, persist and stay private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from sandboxes.accounts import api_tokens

pytestmark = [pytest.mark.django_db, pytest.mark.store]


@pytest.fixture(autouse=True)
def var(settings: Settings, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path
    return tmp_path


def make(var: Path) -> dict[str, dict[str, str]]:
    call_command("create_demo_accounts")
    accounts: dict[str, dict[str, str]] = json.loads((var / "demo-accounts.json").read_text())
    return accounts


def can_sign_in(account: dict[str, str]) -> bool:
    answer = Client().post(
        "/accounts/login/", {"login": account["email"], "password": account["password"]}
    )
    return answer.status_code == 302


def test_there_are_two_developers_and_an_operator(var: Path) -> None:
    accounts = make(var)
    assert list(accounts) == ["developer", "developer2", "operator"]
    assert all(set(account) == {"email", "password", "token"} for account in accounts.values())
    superusers = User.objects.filter(is_superuser=True, is_staff=True)
    assert [user.email for user in superusers] == [accounts["operator"]["email"]]


def test_everyone_can_sign_in_by_email(var: Path) -> None:
    assert [can_sign_in(account) for account in make(var).values()] == [True] * 3


def test_every_token_belongs_to_its_owner(var: Path) -> None:
    for name, account in make(var).items():
        token = api_tokens.authenticate(account["token"])
        assert token
        assert token.user.username == name


def test_the_file_is_readable_only_by_its_owner(var: Path) -> None:
    make(var)
    assert (var / "demo-accounts.json").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in var.iterdir()] == ["demo-accounts.json"]


def test_passwords_and_tokens_are_unique(var: Path) -> None:
    accounts = make(var).values()
    assert len({account["password"] for account in accounts}) == 3
    assert len({account["token"] for account in accounts}) == 3


def test_the_command_is_idempotent(var: Path) -> None:
    assert make(var) == make(var)
    assert User.objects.count() == 3


def test_a_changed_password_is_replaced_and_the_rest_stays(var: Path) -> None:
    before = make(var)
    user = User.objects.get(username="developer")
    user.set_password("something else entirely")
    user.save()
    after = make(var)
    assert can_sign_in(after["developer"])
    assert after["developer"]["token"] == before["developer"]["token"]
    assert after["operator"] == before["operator"]


def test_a_revoked_token_is_replaced(var: Path) -> None:
    before = make(var)["developer2"]
    token = api_tokens.authenticate(before["token"])
    assert token
    api_tokens.revoke(token)
    after = make(var)["developer2"]
    assert after["password"] == before["password"]
    assert api_tokens.authenticate(after["token"])


def test_a_developer_with_the_operators_token_gets_their_own(var: Path) -> None:
    accounts = make(var)
    accounts["developer"]["token"] = accounts["operator"]["token"]
    (var / "demo-accounts.json").write_text(json.dumps(accounts))
    token = api_tokens.authenticate(make(var)["developer"]["token"])
    assert token
    assert token.user.username == "developer"


@pytest.mark.parametrize("damage", ["", "no JSON", "[]", '{"developer": 7}'])
def test_a_damaged_file_is_replaced_and_its_tokens_are_revoked(var: Path, damage: str) -> None:
    before = make(var)
    (var / "demo-accounts.json").write_text(damage)
    after = make(var)
    assert can_sign_in(after["developer"])
    assert api_tokens.authenticate(after["developer"]["token"])
    assert api_tokens.authenticate(before["developer"]["token"]) is None


def test_a_disabled_account_is_reactivated(var: Path) -> None:
    make(var)
    User.objects.update(is_active=False)
    assert can_sign_in(make(var)["developer"])


def test_the_accounts_are_shown_on_request(var: Path, capsys: Any) -> None:
    call_command("create_demo_accounts", "--print")
    shown = capsys.readouterr().out
    for account in make(var).values():
        assert all(value in shown for value in account.values())
    assert str(var / "demo-accounts.json") in shown
