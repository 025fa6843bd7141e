"""Operators can't take over the account of a user with more permissions."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from sandboxes.accounts import api_tokens
from sandboxes.models import ApiToken
from tests.conftest import PASSWORD
from tests.helpers.admin import messages_of, page_of, run_action

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

NEW = "another battery staple"
ACTIONS = ("set_password", "delete", "suspend")
SUPPORT = (
    *("change_user", "delete_user", "view_user", "change_emailaddress", "view_emailaddress"),
    *("view_authenticator", "delete_authenticator", "view_apitoken", "change_apitoken"),
)


def permissions(*names: str) -> list[Permission]:
    return list(Permission.objects.filter(codename__in=names))


@pytest.fixture
def support() -> Client:
    """Return the browser of an operator who helps users with their accounts."""
    user = User.objects.create_user("sam", "sam@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(permissions(*SUPPORT))
    browser = Client()
    browser.force_login(user)
    return browser


def superuser() -> User:
    return User.objects.create_superuser("root", "root@example.com", PASSWORD)


def with_permission() -> User:
    user = User.objects.create_user("oscar", "oscar@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(permissions("change_sandbox"))
    return user


def with_group() -> User:
    group = Group.objects.create(name="on call")
    group.permissions.set(permissions("change_maintenance"))
    user = User.objects.create_user("grace", "grace@example.com", PASSWORD, is_staff=True)
    user.groups.add(group)
    return user


def suspended() -> User:
    user = with_permission()
    user.is_active = False
    user.save()
    return user


HIGHER = [superuser, with_permission, with_group, suspended]


@pytest.mark.parametrize("higher", HIGHER)
def test_an_account_with_more_permissions_is_out_of_reach(support: Client, higher) -> None:
    target = higher()
    address = EmailAddress.objects.create(user=target, email="new@example.com")
    TOTP.activate(target, "JBSWY3DPEHPK3PXP")
    factor, token = Authenticator.objects.get(), api_tokens.issue(target, "laptop")[0]
    answers = {"password": NEW, "reason": "They asked."}
    for action, row in (
        *((name, target) for name in (*ACTIONS, "lift")),
        ("verify", address),
        ("delete", factor),
        ("revoke", token),
    ):
        page = run_action(support, action, row, **answers)
        reason = "Only superusers" if target.is_superuser else "permissions that yours lacks"
        assert reason in messages_of(page)[0], action
    form = {"username": "taken", "email": "sam@example.com", "reason": "They asked."}
    assert support.post(page_of(target), form).status_code == 403

    after = User.objects.get(pk=target.pk)
    assert after.check_password(PASSWORD)
    assert (after.email, after.is_active) == (target.email, target.is_active)
    assert Authenticator.objects.exists()
    assert not EmailAddress.objects.get().verified
    assert ApiToken.objects.get().revoked_at is None


def test_an_account_without_more_permissions_can_be_helped(support: Client, alice: User) -> None:
    answers = {"password": NEW, "reason": "They asked."}
    run_action(support, "set_password", alice, **answers)
    alice.refresh_from_db()
    assert alice.check_password(NEW)


def test_operators_cannot_grant_themselves_or_new_users_anything(
    support: Client, alice: User
) -> None:
    sam = User.objects.get(username="sam")
    sam.user_permissions.add(*permissions("add_user"))
    every = [permission.pk for permission in Permission.objects.all()]
    powers = {"is_staff": "on", "is_superuser": "on", "user_permissions": every, "reason": "Why."}
    for row in (sam, alice):
        support.post(page_of(row), {"username": row.username, "email": row.email} | powers)
    form = {"username": "new", "password1": NEW, "password2": NEW, "usable_password": "true"}
    support.post("/admin/auth/user/add/", form | powers)
    assert not User.objects.filter(is_superuser=True).exists()
    assert not User.objects.exclude(pk=sam.pk).filter(is_staff=True).exists()
    assert not User.objects.get(pk=sam.pk).has_perm("sandboxes.change_sandbox")
