"""Sandboxes and their journal, to look at; the two things that operators do to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandboxes import actions, presentation
from sandboxes.admin.asking import ExtensionForm, Question, ReasonForm
from sandboxes.admin.base import LookOnly, PortalAdmin, TabularInline, pairs, preformatted
from sandboxes.errors import Conflict
from sandboxes.models import Event, Extension, Sandbox, Site, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def _destroy(sandbox: Sandbox, operator: User, answers: dict[str, Any]) -> None:
    if not sandbox.is_active:
        raise Conflict(f"It is {sandbox.state} already; nothing was done.")
    actions.destroy(sandbox, operator, answers["reason"])


def _extend(sandbox: Sandbox, operator: User, answers: dict[str, Any]) -> None:
    actions.extend(sandbox, answers["minutes"], operator, answers["reason"])


DESTROY = Question("destroy", "Destroy", "will be destroyed", ReasonForm, _destroy)
EXTEND = Question("extend", "Extend", "extended", ExtensionForm, _extend)


class EventInline(LookOnly, TabularInline):
    model = Event
    verbose_name_plural = "journal"
    fields = readonly_fields = ("at", "kind", "by", "actor", "message")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).select_related("actor")


class ExtensionInline(LookOnly, TabularInline):
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
class SandboxAdmin(LookOnly, PortalAdmin):
    list_display = (
        "public_id",
        "name",
        "owner_email",
        "blueprint",
        "state",
        "ending",
        "funding",
        "created_at",
    )
    list_filter = (
        "state",
        "end_reason",
        "blueprint",
        "funding",
        ("removal_error", admin.EmptyFieldListFilter),
    )
    list_select_related = ("owner",)
    search_fields = ("public_id", "name", "owner__email")
    search_help_text = "Id, name, or its owner's e-mail address"
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    actions = ("destroy", "extend")
    change_form_template = "admin/sandboxes/sandbox/change_form.html"
    inlines = (ExtensionInline, EventInline)
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": (
                    ("public_id", "name"),
                    ("owner", "blueprint"),
                    ("state", "ending"),
                    "end_reason",
                    "end_message",
                    "failed_service",
                    "last_log_lines",
                )
            },
        ),
        (
            "Clocks",
            {
                "fields": (
                    ("created_at", "started_at", "ended_at"),
                    ("expires_at", "idle_expires_at", "hard_cap_at"),
                    ("last_activity_at", "idle_minutes"),
                )
            },
        ),
        (
            "On the engine",
            {
                "fields": (
                    "steps_so_far",
                    "endpoints",
                    ("memory_mb", "cpus", "disk_limit"),
                    "consumption",
                    ("attempt", "lease_until"),
                    ("removal_attempts", "removal_error"),
                )
            },
        ),
        (
            "Stellar account",
            {
                "fields": (
                    "stellar_public_key",
                    ("funding", "funding_attempts", "funding_due_at"),
                    "funding_error",
                )
            },
        ),
    ]

    @admin.action(description="Destroy…", permissions=["operate"])
    def destroy(self, request: HttpRequest, rows: QuerySet[Sandbox]) -> HttpResponse | None:
        return DESTROY.ask(self, request, rows)

    @admin.action(description="Extend…", permissions=["operate"])
    def extend(self, request: HttpRequest, rows: QuerySet[Sandbox]) -> HttpResponse | None:
        return EXTEND.ask(self, request, rows)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row: Sandbox | None = kwargs.get("obj")
        if row and self.has_operate_permission(request):
            running = row.state == State.RUNNING
            context["questions"] = [
                question for question, fits in ((DESTROY, row.is_active), (EXTEND, running)) if fits
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="owner", ordering="owner__email")
    def owner_email(self, row: Sandbox) -> str:
        return row.owner.email or row.owner.get_username() if row.owner else "—"

    @admin.display(description="how it ends", ordering="expires_at")
    def ending(self, row: Sandbox) -> str:
        return presentation.ending(row).sentence

    @admin.display(description="what failed", empty_value="—")
    def failed_service(self, row: Sandbox) -> str | None:
        service, code = row.failure.get("service"), row.failure.get("exit_code")
        return f"{service}, exit code {code}" if service and code is not None else service

    @admin.display(description="last log lines", empty_value="—")
    def last_log_lines(self, row: Sandbox) -> SafeString | None:
        tail = row.failure.get("log_tail")
        return preformatted(tail) if tail else None

    @admin.display(description="steps", empty_value="—")
    def steps_so_far(self, row: Sandbox) -> SafeString | None:
        steps = {
            step.label: step.state if step.seconds is None else f"{step.state}, {step.seconds} s"
            for step in presentation.steps(row)
        }
        return pairs(steps) if steps else None

    @admin.display(empty_value="—")
    def endpoints(self, row: Sandbox) -> SafeString | None:
        known = {name: url for name, url in presentation.endpoints(row).items() if url}
        return pairs(known) if known else None

    @admin.display(description="disk limit")
    def disk_limit(self, row: Sandbox) -> str:
        enforced = Site.current().hard_disk_limit
        how = "enforced by the engine" if enforced else "measured; it ends when it is over"
        return f"{row.disk_mb} MB, {how}"

    @admin.display(description="consumption", empty_value="—")
    def consumption(self, row: Sandbox) -> str | None:
        last = row.samples.order_by("-id").first()
        if last is None:
            return None
        disk = "not measured" if last.disk_mb is None else f"{last.disk_mb:.1f} MB"
        return f"{last.memory_mb:.0f} MB memory, {last.cpu_seconds:.1f} s CPU, disk {disk}"


@admin.register(Event)
class EventAdmin(LookOnly, PortalAdmin):
    list_display = ("at", "sandbox_link", "kind", "by", "actor", "message")
    list_filter = (("at", admin.DateFieldListFilter),)
    list_select_related = ("sandbox", "actor")
    search_fields = ("=sandbox__public_id", "=kind", "=actor__email")
    search_help_text = "A sandbox's id, a kind of event, or an actor's e-mail address, in full"
    ordering = ("-id",)
    sortable_by = ()
    fields = ("at", "sandbox_link", "kind", "by", "actor", "message", "data")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).defer("sandbox__secrets")

    @admin.display(description="sandbox")
    def sandbox_link(self, row: Event) -> SafeString:
        url = reverse("admin:sandboxes_sandbox_change", args=[row.sandbox_id])
        return format_html('<a href="{}">{}</a>', url, row.sandbox.public_id)
