"""Versions of blueprints: activate one, roll back to an earlier one, or disable a blueprint."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from sandboxes import blueprints
from sandboxes.actions import blueprint_versions
from sandboxes.admin.base import PortalAdmin, ReadOnlyAdminMixin, format_pairs
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.blueprints import Blueprint, BlueprintNotFound
from sandboxes.blueprints.limits import caps
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import BlueprintVersion, Pool
from sandboxes.operators.audit import AuditActor
from sandboxes.runtime import ServiceSpec


def _activate(version: BlueprintVersion, _actor: AuditActor, _data: dict[str, Any]) -> None:
    try:
        blueprints.read_version(version.digest)
    except BlueprintNotFound as error:
        raise StateConflict(str(error)) from error
    blueprint_versions.activate(version)


def _disable(version: BlueprintVersion, _actor: AuditActor, _data: dict[str, Any]) -> None:
    blueprint_versions.disable(version.name)


def _can_be_activated(version: BlueprintVersion) -> bool:
    return not version.is_active or _is_disabled(version)


def _can_be_disabled(version: BlueprintVersion) -> bool:
    return version.is_active and not _is_disabled(version)


def _is_disabled(version: BlueprintVersion) -> bool:
    return Pool.objects.filter(blueprint=version.name, switched_off=True).exists()


ACTIVATE = ConfirmedAction(
    "activate",
    "Activate",
    "activated; new sandboxes are launched from it, and running ones keep their version",
    ReasonForm,
    _activate,
    _can_be_activated,
)
DISABLE = ConfirmedAction(
    "disable",
    "Disable blueprint",
    "disabled; running sandboxes continue",
    ReasonForm,
    _disable,
    _can_be_disabled,
)


@admin.register(BlueprintVersion)
class BlueprintVersionAdmin(ReadOnlyAdminMixin, PortalAdmin):
    list_display = ("name", "version", "status", "live", "prepared_at", "activated_at")
    list_display_links = ("name", "version")
    list_filter = ("name",)
    ordering = ("name", "-prepared_at", "-pk")
    confirmed_actions = (ACTIVATE, DISABLE)
    readonly_fields = (
        "version",
        "status",
        "live",
        "title",
        "access",
        "limits",
        "services",
        "image_ids",
        "digest",
    )
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": ("name", "title", "version", "status", "live"),
                "description": "A version never changes. “manage.py blueprint prepare” creates "
                "new ones from the blueprints' folders.",
            },
        ),
        ("Content", {"fields": ("access", "limits", "services", "image_ids", "digest")}),
        ("Times", {"fields": ("prepared_at", "activated_at")}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BlueprintVersion]:
        rows: QuerySet[BlueprintVersion] = super().get_queryset(request)
        pool = Pool.objects.filter(blueprint=OuterRef("name"))
        return rows.defer("document").annotate(
            live_now=Count("sandboxes", filter=Q(sandboxes__ended_at=None)),
            is_disabled=Subquery(pool.values("switched_off")[:1]),
        )

    def describe_row(self, row: BlueprintVersion) -> tuple[str, str]:
        return str(row), row.state

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list, with a warning for each problem of the blueprints' files."""
        if request.method == "GET":
            for problem in blueprints.problems():
                messages.warning(request, f"Not prepared: {problem} {problem.remedy}")
        return super().changelist_view(request, extra_context)

    @admin.display(description="version", ordering="digest")
    def version(self, row: BlueprintVersion) -> str:
        return row.short_digest

    @admin.display(description="state", ordering="is_active")
    def status(self, row: Any) -> str:
        return "disabled" if row.is_active and row.is_disabled else row.state

    @admin.display(description="sandboxes", ordering="live_now")
    def live(self, row: Any) -> int:
        return int(row.live_now)

    @admin.display(description="title")
    def title(self, row: BlueprintVersion) -> str:
        found = _read(row)
        return found.title if found else "This release can't read the version."

    @admin.display(description="access")
    def access(self, row: BlueprintVersion) -> str:
        found = _read(row)
        return found.access.value if found else ""

    @admin.display(description="limits")
    def limits(self, row: BlueprintVersion) -> SafeString:
        found = _read(row)
        return format_pairs(_describe_limits(found) if found else {})

    @admin.display(description="services")
    def services(self, row: BlueprintVersion) -> SafeString:
        found = _read(row)
        return format_pairs(
            {one.name: _describe_service(one) for one in (found.services if found else ())}
        )

    @admin.display(description="images")
    def image_ids(self, row: BlueprintVersion) -> SafeString:
        return format_pairs(row.images)


def _describe_service(service: ServiceSpec) -> str:
    limits = f"{service.memory_mb} MB, {service.cpus:g} CPUs"
    return f"{limits}, may run as root" if service.root else limits


def _describe_limits(blueprint: Blueprint) -> dict[str, str]:
    """Return the limits of a sandbox, its own lifetime, timeout and quota only if it has them."""
    own = blueprint.limits
    size = f"{blueprint.memory_mb} MB memory, {blueprint.cpus:g} CPUs, {blueprint.disk_mb} MB disk"
    minutes = {
        "default lifetime": own.ttl_minutes,
        "maximum lifetime": own.ttl_max_minutes,
        "idle timeout": own.idle_minutes,
    }
    return {
        "size": size,
        **{name: f"{value} min" for name, value in minutes.items() if value},
        **({"active per user": str(own.max_active)} if own.max_active else {}),
        **{excess.size.key: f"not launched: {excess}" for excess in blueprint.excesses},
        **dict(caps(own)),
    }


def _read(version: BlueprintVersion) -> Blueprint | None:
    try:
        return blueprints.read_version(version.digest)
    except BlueprintNotFound:
        return None
