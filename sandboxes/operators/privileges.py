"""Which operators may change whose account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import Permission
from django.db.models import Q

from sandboxes.lib.exceptions import StateConflict

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def may_control(actor: User, user: User) -> bool:
    """Return whether the actor has all permissions of the user, even of a suspended one.

    An operator who sets the password, the address or the second factor of an account can use its
    permissions.
    """
    if actor.is_superuser or actor == user:
        return True
    if user.is_superuser:
        return False
    held = Permission.objects.filter(Q(user=user) | Q(group__user=user)).distinct()
    names = held.values_list("content_type__app_label", "codename")
    return actor.has_perms([f"{app}.{codename}" for app, codename in names])


def require_control(actor: User, user: User | None) -> None:
    """Raise StateConflict unless the actor has all permissions of the user, if there is one."""
    if user is None or may_control(actor, user):
        return
    if user.is_superuser:
        raise StateConflict("Only superusers can change a superuser's account.")
    raise StateConflict(
        "This account has permissions that yours lacks. Ask an operator who has them, or a "
        "superuser."
    )
