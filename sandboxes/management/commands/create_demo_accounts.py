"""`manage.py create_demo_accounts`: create two developers and an operator to try the portal."""

from __future__ import annotations

import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from sandboxes.accounts import api_tokens
from sandboxes.lib import clock
from sandboxes.models import ApiToken, Scope

NAMES = ("developer", "developer2", "operator")
OPERATORS = ("operator",)
NAME_OF_TOKENS = "demo account"

Account = dict[str, str]


class Command(BaseCommand):
    help = (
        "Creates the demo accounts developer, developer2 and operator, with random passwords and "
        "API tokens, and stores them in demo-accounts.json in VAR_DIR. Run again, it keeps what "
        "still works and replaces the rest."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--print", action="store_true", help="show the accounts")

    def handle(self, **options: Any) -> None:
        path = settings.VAR_DIR / "demo-accounts.json"
        before = read(path)
        accounts = make(before)
        if accounts != before:
            write(path, accounts)
        if options["print"]:
            for name, account in accounts.items():
                self.stdout.write(
                    f"  {name:11}{account['email']:23} password {account['password']}\n"
                    f"  {'':11}{'':23} token    {account['token']}"
                )
            self.stdout.write(f"  stored in {path}")


def read(path: Path) -> dict[str, Account]:
    """Return the accounts of an earlier run; empty if they can't be read."""
    try:
        kept = json.loads(path.read_text())
        return {name: {key: str(kept[name][key]) for key in kept[name]} for name in kept}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def write(path: Path, accounts: dict[str, Account]) -> None:
    """Write the file atomically, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(accounts, out, indent=2)
    draft.replace(path)


def make(before: dict[str, Account]) -> dict[str, Account]:
    """Create or update the accounts, each with a working password and token."""
    users = {name: _user(name) for name in NAMES}
    kept = {name: before.get(name, {}) for name in NAMES}
    # Checking a password is slow on purpose, so check the three in parallel.
    with ThreadPoolExecutor() as pool:
        checks = {
            name: pool.submit(check_password, kept[name].get("password", ""), user.password)
            for name, user in users.items()
        }
    return {
        name: {
            "email": user.email,
            "password": kept[name]["password"] if checks[name].result() else _new_password(user),
            "token": _token(user, kept[name].get("token", "")),
        }
        for name, user in users.items()
    }


@transaction.atomic
def _user(name: str) -> User:
    operator = name in OPERATORS
    email = f"{name}@example.com"
    values = {
        "email": email,
        "is_active": True,
        "is_staff": operator,
        "is_superuser": operator,
    }
    user, _ = User.objects.update_or_create(username=name, defaults=values)
    EmailAddress.objects.filter(user=user).exclude(email=email).update(primary=False)
    EmailAddress.objects.update_or_create(
        user=user, email=email, defaults={"verified": True, "primary": True}
    )
    return user


def _new_password(user: User) -> str:
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


def _token(user: User, text: str) -> str:
    known = api_tokens.authenticate(text)
    if known and known.user_id == user.pk and known.scope == Scope.ALL:
        return text
    lost = ApiToken.objects.usable(clock.now()).filter(user=user, name=NAME_OF_TOKENS)
    for token in lost:
        api_tokens.revoke(token)
    return api_tokens.issue(user, NAME_OF_TOKENS)[1]
