"""Maintenance mode and system status of the portal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from sandboxes import runtime
from sandboxes.admin.base import PortalAdmin
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.lib import clock, queue
from sandboxes.models import Engine, Maintenance, SweepStatus
from sandboxes.operators.audit import AuditActor
from sandboxes.reaper import tasks as reaper_tasks
from sandboxes.representations import display

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Maintenance]
else:
    ModelForm = forms.ModelForm


class MaintenanceForm(ModelForm):
    """The end of maintenance mode, and its message."""

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until and "until" in self.changed_data and until <= clock.now():
            raise ValidationError(
                "Enter a time in the future, or leave it empty to end maintenance mode."
            )
        return until


def _sweep(_maintenance: Maintenance, _actor: AuditActor, _data: dict[str, Any]) -> None:
    queue.enqueue(reaper_tasks.sweep)


SWEEP = ConfirmedAction("sweep", "Sweep now", "swept", ReasonForm, _sweep, message="Sweep queued.")


@admin.register(Maintenance)
class MaintenanceAdmin(PortalAdmin):
    form = MaintenanceForm
    confirmed_actions = (SWEEP,)
    readonly_fields = (
        "last_sweep_at",
        "last_sweep_error",
        "engine",
        "isolation",
        "disk_quota_enforced",
    )
    fieldsets: ClassVar = [
        (
            "Maintenance",
            {
                "fields": ("until", "message"),
                "description": "New launches are paused and this message is shown until then. "
                "Running sandboxes aren't affected.",
            },
        ),
        ("System status", {"fields": readonly_fields}),
    ]

    @admin.display(description="Last sweep")
    def last_sweep_at(self, row: Maintenance) -> datetime | None:  # noqa: ARG002 - another table
        return SweepStatus.current().last_sweep_at

    @admin.display(description="Errors of the last sweep")
    def last_sweep_error(self, row: Maintenance) -> str:  # noqa: ARG002 - another table
        return SweepStatus.current().last_sweep_error

    @admin.display(description="Engine")
    def engine(self, row: Maintenance) -> str:  # noqa: ARG002 - another table
        return Engine.default().version

    @admin.display(description="Disk limits enforced", boolean=True)
    def disk_quota_enforced(self, row: Maintenance) -> bool | None:  # noqa: ARG002 - another table
        return Engine.default().disk_quota_enforced

    @admin.display(description="Isolation")
    def isolation(self, row: Maintenance) -> str:  # noqa: ARG002 - the same for the whole portal
        if runtime.is_isolated():
            return "Every sandbox has its own network and its own limits."
        return display.TRIAL_MODE

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Redirect to the only row."""
        if request.method == "POST":
            return super().changelist_view(request, extra_context)
        return redirect("admin:sandboxes_maintenance_change", Maintenance.current().pk)
