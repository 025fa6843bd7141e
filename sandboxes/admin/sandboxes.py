"""Sandboxes and their journal, read-only; operators' actions are in `sandbox_actions`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sandboxes.admin.base import (
    EMPTY,
    PortalAdmin,
    ReadOnlyAdminMixin,
    TabularInline,
    format_pairs,
    preformatted,
)
from sandboxes.admin.monitor import MonitorMixin
from sandboxes.admin.sandbox_actions import ACTIONS
from sandboxes.admin.search import BlueprintFilter, search_events, search_sandboxes
from sandboxes.admin.usage_report import UsageReportMixin
from sandboxes.blueprints.parameters import variable_texts
from sandboxes.models import Event, Extension, Sandbox
from sandboxes.operators import audit
from sandboxes.operators.alerts import admin_time
from sandboxes.representations import display

MAIN_FIELDS = ("public_id", "name", "owner", "blueprint", "state", "ending")
FIELDSETS = {
    "Deadlines": (
        ("created_at", "started_at", "ended_at"),
        ("expires_at", "idle_end", "hard_cap_at"),
        ("last_activity_at", "idle_minutes"),
    ),
    "Engine": (
        "steps_so_far",
        "endpoints",
        "limits",
        "consumption",
        ("lease_token", "leased_until"),
        ("removal_attempts", "removal_error"),
    ),
}
ACCOUNT_FIELDS = (
    "stellar_public_key",
    ("funding", "funding_attempts", "funding_due_at"),
    "funding_error",
)


class EventInline(ReadOnlyAdminMixin, TabularInline):
    model = Event
    verbose_name_plural = "activity"
    fields = readonly_fields = ("created_at", "kind", "actor_role", "actor", "message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).select_related("actor")


class ExtensionInline(ReadOnlyAdminMixin, TabularInline):
    model = Extension
    fields = readonly_fields = (
        "created_at",
        "minutes",
        "granted_by",
        "by_operator",
        "expires_before",
        "expires_after",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Extension]:
        return super().get_queryset(request).select_related("granted_by")


@admin.register(Sandbox)
class SandboxAdmin(MonitorMixin, UsageReportMixin, ReadOnlyAdminMixin, PortalAdmin):
    list_display = ("called", "owner_email", "state", "ending", "launched")
    list_filter = (
        "state",
        "end_reason",
        "created_at",
        BlueprintFilter,
        "funding",
        ("removal_error", admin.EmptyFieldListFilter),
    )
    list_select_related = ("owner",)
    search_fields = ("public_id", "name", "owner__email")
    search_help_text = "ID, name, owner's email address, or metadata as key=value"
    ordering = ("-created_at", "-id")
    confirmed_actions = ACTIONS
    inlines = (ExtensionInline, EventInline)

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        rows: Any,
        search_term: str,
    ) -> tuple[QuerySet[Sandbox], bool]:
        return search_sandboxes(rows, search_term), False

    def get_fieldsets(self, request: HttpRequest, obj: Sandbox | None = None) -> Any:  # noqa: ARG002
        ended = ("end_reason", "end_message") if obj and obj.end_reason else ()
        broken = ("failed_service", "last_log_lines") if obj and obj.failure else ()
        chosen = ("parameters_chosen",) if obj and obj.parameters else ()
        pairs = ("metadata_pairs",) if obj and obj.metadata else ()
        main = [*MAIN_FIELDS, *chosen, *pairs, *ended, *broken]
        rest = [(title, {"fields": fields}) for title, fields in FIELDSETS.items()]
        if obj and obj.funding:
            rest.append(("Account", {"fields": ACCOUNT_FIELDS}))
        return [(None, {"fields": main}), *rest]

    def describe_row(self, row: Sandbox) -> tuple[str, str]:
        owner = audit.display_name(row.owner) or "no owner"
        return row.public_id, f"{row.name}, {owner}, {row.state}".removeprefix(", ")

    @admin.display(description="sandbox", ordering="public_id")
    def called(self, row: Sandbox) -> SafeString:
        return format_html("{} <code>{}</code>", row.name, row.public_id)

    @admin.display(ordering="created_at")
    def launched(self, row: Sandbox) -> str:
        return admin_time(row.created_at)

    @admin.display(description="owner")
    def owner_email(self, row: Sandbox) -> str:
        return row.owner.email or row.owner.get_username() if row.owner else EMPTY

    @admin.display(description="expiry", ordering="expires_at")
    def ending(self, row: Sandbox) -> SafeString:
        deadline = display.deadline(row)
        sentences = [(_sentence(one),) for one in (deadline.headline, deadline.note) if one]
        return format_html_join("", "<div>{}</div>", sentences)

    @admin.display(description="idle until")
    def idle_end(self, row: Sandbox) -> str:
        return admin_time(row.idle_expires_at) if row.idle_expires_at else EMPTY

    @admin.display(description="failure")
    def failed_service(self, row: Sandbox) -> str:
        service, code = row.failure.get("service"), row.failure.get("exit_code")
        return f"{service}, exit code {code}" if service and code is not None else service or EMPTY

    @admin.display(description="last log lines")
    def last_log_lines(self, row: Sandbox) -> str:
        return preformatted(row.failure.get("log_tail") or row.final_logs or EMPTY)

    @admin.display(description="parameters")
    def parameters_chosen(self, row: Sandbox) -> str:
        return format_pairs(variable_texts(row.parameters))

    @admin.display(description="metadata")
    def metadata_pairs(self, row: Sandbox) -> str:
        return format_pairs(row.metadata)

    @admin.display(description="steps")
    def steps_so_far(self, row: Sandbox) -> str:
        return format_pairs(
            {
                step.label: step.state
                if step.seconds is None
                else f"{step.state}, {step.seconds} s"
                for step in display.steps(row)
            }
        )

    def endpoints(self, row: Sandbox) -> str:
        return format_pairs({name: url for name, url in display.endpoints(row).items() if url})

    def limits(self, row: Sandbox) -> str:
        enforced = row.engine.disk_quota_enforced
        how = "hard limit" if enforced else "soft limit"
        return f"{row.memory_mb} MB memory, {row.cpus:g} CPU, {row.disk_mb} MB disk ({how})"

    def consumption(self, row: Sandbox) -> str:
        last = row.samples.order_by("-id").first()
        if last is None:
            return EMPTY
        disk = "not measured" if last.disk_mb is None else f"{last.disk_mb:.1f} MB"
        return f"{last.memory_mb:.0f} MB memory, {last.cpu_seconds:.1f} s CPU, disk {disk}"


def _sentence(parts: display.Sentence) -> str:
    return "".join(part if isinstance(part, str) else admin_time(part) for part in parts)


@admin.register(Event)
class EventAdmin(ReadOnlyAdminMixin, PortalAdmin):
    list_display = ("created_at", "sandbox_link", "kind", "actor_role", "actor", "message")
    list_select_related = ("sandbox", "actor")
    search_fields = ("sandbox__public_id", "kind", "actor__email")
    search_help_text = "A sandbox's ID, a kind of event, or an actor's full email address"
    ordering = ("-id",)
    sortable_by = ()
    fields = ("created_at", "sandbox_link", "kind", "actor_role", "actor", "message", "data")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).defer("sandbox__secrets")

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        rows: QuerySet[Event],
        search_term: str,
    ) -> tuple[QuerySet[Event], bool]:
        return search_events(rows, search_term), False

    @admin.display(description="sandbox")
    def sandbox_link(self, row: Event) -> SafeString:
        url = reverse("admin:sandboxes_sandbox_change", args=[row.sandbox_id])
        return format_html('<a href="{}">{}</a>', url, row.sandbox.public_id)
