"""Users, groups, email addresses and second factors; actions require a reason."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandboxes.actions import operators
from sandboxes.admin.audited import reason_field
from sandboxes.admin.base import PortalAdmin, ReadOnlyAdminMixin
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import Sandbox
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor
from sandboxes.operators.privileges import may_control, require_control

for model in (User, Group, Authenticator, EmailAddress):
    admin.site.unregister(model)
# Providers are configured in the environment; social tokens and session keys are private.
for model in (SocialAccount, SocialApp, SocialToken, UserSession):
    admin.site.unregister(model)


class PasswordForm(ReasonForm):
    """A new password for a user who can't reset it by email."""

    password = forms.CharField(
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        validators=[validate_password],
    )
    field_order = ("password", "reason")


class SuspensionForm(forms.Form):
    """Why an account is suspended."""

    reason = reason_field(
        "Destroys the user's sandboxes and revokes their tokens. The user sees this reason.",
        autofocus=True,
    )


def _delete(row: Model, actor: AuditActor, _data: dict[str, Any]) -> None:
    require_control(actor.user, getattr(row, "user", None))
    row.delete()


def _set_password(user: User, actor: AuditActor, data: dict[str, Any]) -> None:
    require_control(actor.user, user)
    user.set_password(data["password"])
    user.save(update_fields=["password"])


def _delete_user(user: User, actor: AuditActor, _data: dict[str, Any]) -> None:
    require_control(actor.user, user)
    if user == actor.user:
        raise StateConflict("You can't delete your own account. Ask another operator.")
    user.delete()


def _suspend(user: User, actor: AuditActor, data: dict[str, Any]) -> None:
    require_control(actor.user, user)
    operators.suspend_user(user, actor.user, data["reason"])


def _reinstate(user: User, actor: AuditActor, _data: dict[str, Any]) -> None:
    require_control(actor.user, user)
    operators.unsuspend_user(user)


def _verify(address: EmailAddress, actor: AuditActor, _data: dict[str, Any]) -> None:
    require_control(actor.user, address.user)
    address.set_verified()


SET_PASSWORD = ConfirmedAction(
    "set_password", "Set password", "given a new password", PasswordForm, _set_password
)
DELETE_USER = ConfirmedAction(
    "delete", "Delete", "deleted", ReasonForm, _delete_user, permission="delete"
)
DELETE = ConfirmedAction("delete", "Delete", "deleted", ReasonForm, _delete, permission="delete")
SUSPEND = ConfirmedAction(
    "suspend", "Suspend", "suspended", SuspensionForm, _suspend, lambda user: user.is_active
)
REINSTATE = ConfirmedAction(
    "lift",
    "Reinstate",
    "reinstated",
    ReasonForm,
    _reinstate,
    lambda user: not user.is_active,
)
VERIFY = ConfirmedAction(
    "verify", "Mark as verified", "verified", ReasonForm, _verify, lambda row: not row.verified
)


@admin.register(User)
class UserAdmin(PortalAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    """Users. Staff who aren't superusers can't grant permissions, to themselves or others."""

    list_display = ("email", "username", "sandboxes", "suspended", "is_staff", "last_login")
    list_display_links = ("email", "username")
    ordering = ("email",)
    confirmed_actions = (SUSPEND, REINSTATE, SET_PASSWORD, DELETE_USER)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002 - Django's signature
        shown = ("sandboxes", "suspended", "last_login", "date_joined")
        privileges = ("is_staff", "is_superuser", "groups", "user_permissions")
        return shown if request.user.is_superuser else (*shown, *privileges)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        return obj is None or may_control(request.user, obj)  # type: ignore[arg-type]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        # A subquery per row: a join would read all past sandboxes, too.
        active = Sandbox.objects.active().filter(owner=OuterRef("pk")).order_by()
        count = active.values("owner").annotate(count=Count("pk")).values("count")
        rows: QuerySet[User] = super().get_queryset(request)
        return rows.annotate(active_sandboxes=Coalesce(Subquery(count), 0))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None:
            return fieldsets
        account = (None, {"fields": ("username", "suspended", "sandboxes")})
        privileges = ("is_staff", "is_superuser", "groups", "user_permissions")
        permissions = ("Permissions", {"fields": privileges})
        return [account, fieldsets[1], permissions, *fieldsets[3:]]

    def user_change_password(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        id: str,  # noqa: A002, ARG002
        form_url: str = "",  # noqa: ARG002
    ) -> HttpResponse:
        """Disable Django's page, which asks for no reason; an action replaces it."""
        raise PermissionDenied

    def describe_row(self, row: User) -> tuple[str, str]:
        return audit.display_name(row), "" if row.is_active else "suspended"

    @admin.display(boolean=True)
    def suspended(self, row: User) -> bool:
        return not row.is_active

    @admin.display(ordering="active_sandboxes")
    def sandboxes(self, row: User) -> SafeString:
        url = reverse("admin:sandboxes_sandbox_changelist")
        active = getattr(row, "active_sandboxes", 0)
        return format_html('<a href="{}?owner__id__exact={}">{} active</a>', url, row.pk, active)


@admin.register(Group)
class GroupAdmin(PortalAdmin, DjangoGroupAdmin):
    confirmed_actions = (DELETE,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow only superusers, since groups grant permissions to their members."""
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.is_superuser


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdminMixin, PortalAdmin):
    """Second factors, to remove lost ones. Their keys aren't shown."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    fields = list_display
    confirmed_actions = (DELETE,)


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdminMixin, PortalAdmin):
    """Email addresses, to verify them for users who don't get the email."""

    list_display = ("email", "user", "primary", "verified")
    list_filter = ("primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email",)
    ordering = ("email",)
    fields = list_display
    confirmed_actions = (VERIFY,)
