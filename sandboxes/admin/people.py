"""Django's own page of a user, with the way to what is theirs here; second factors without keys."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import User
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandboxes.admin.base import PortalAdmin
from sandboxes.models import ApiToken, Sandbox

admin.site.unregister(User)
admin.site.unregister(Authenticator)


@admin.register(User)
class UserAdmin(PortalAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    list_display = ("email", "username", "sandboxes", "is_active", "is_staff", "last_login")
    list_display_links = ("email", "username")
    readonly_fields = ("sandboxes", "last_login", "date_joined")
    ordering = ("email",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        # A subquery for each that is shown: a join would read everybody's past ones, too.
        active = Sandbox.objects.active().filter(owner=OuterRef("pk")).order_by()
        count = active.values("owner").annotate(count=Count("pk")).values("count")
        rows: QuerySet[User] = super().get_queryset(request)
        return rows.annotate(active_sandboxes=Coalesce(Subquery(count), 0))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        own = [("Sandboxes", {"fields": ("sandboxes",)})] if obj else []
        return [*super().get_fieldsets(request, obj), *own]

    @admin.display(ordering="active_sandboxes")
    def sandboxes(self, row: User) -> SafeString:
        url = reverse("admin:sandboxes_sandbox_changelist")
        active = getattr(row, "active_sandboxes", 0)
        return format_html('<a href="{}?owner__id__exact={}">{} active</a>', url, row.pk, active)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A user takes the tokens along, which nobody may delete by themselves."""
        shown, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return shown, counts, set(lacking) - {ApiToken._meta.verbose_name}, protected  # noqa: SLF001


@admin.register(Authenticator)
class AuthenticatorAdmin(PortalAdmin):
    """To take a lost second factor off an account. Its key is nobody's business."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    fields = list_display

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False
