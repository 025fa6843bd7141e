"""Engines: their state and load, draining, removing, and adding through a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from celery.exceptions import TimeoutError as CeleryTimeout
from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from kombu.exceptions import OperationalError

from sandboxes.actions import engines as actions
from sandboxes.admin.audited import audit_actor
from sandboxes.admin.base import EMPTY, CappedChangeList, PortalAdmin, format_pairs
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.core import placement
from sandboxes.lib import clock
from sandboxes.models import Engine
from sandboxes.models.engine import format_labels, parse_labels
from sandboxes.operators.audit import AuditActor
from sandboxes.operators.engines import EngineStatus, statuses
from sandboxes.preparation import tasks

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Engine]
else:
    ModelForm = forms.ModelForm

ADD_SECONDS = 15.0
"""How long the page waits for the checks of an engine."""
LATE = "The checks take long. See in a minute whether the engine is in the list."


class RemovalForm(ReasonForm):
    """A reason, and whether to give up the sandboxes of an engine that won't come back."""

    force = forms.BooleanField(
        required=False,
        label="Give up its sandboxes",
        help_text="Those that it still has end as lost. For an engine that won't come back.",
    )


class EngineForm(ModelForm):
    """The fields of an engine that operators can change."""

    labels = forms.CharField(
        required=False,
        help_text="Such as disk=ssd, zone=eu. Blueprints choose engines by them.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )

    class Meta:
        model = Engine
        fields = ("weight",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["labels"].initial = format_labels(self.instance.labels)

    def clean_labels(self) -> dict[str, str]:
        return parse_labels(self.cleaned_data["labels"].replace(",", " ").split())


class EngineAddForm(EngineForm):
    """A new engine, which a worker checks and adds."""

    actor: AuditActor
    name = forms.CharField(help_text="Lowercase letters, digits and hyphens.")
    address = forms.CharField(help_text="tcp://HOST:PORT of its socket proxy, or unix:///PATH.")
    publish_address = forms.GenericIPAddressField(
        help_text="The address of its machine on which ports are published."
    )
    public_host = forms.CharField(required=False, help_text="Shown to users in its place.")

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            self._add(dict(self.cleaned_data))

    def _add(self, values: dict[str, Any]) -> None:
        reason = values.pop("reason").strip()
        try:
            result = tasks.add_engine.delay(values, self.actor.user.pk, self.actor.address, reason)
            error = result.get(timeout=ADD_SECONDS)
        except (CeleryTimeout, OperationalError, OSError):
            self.add_error(None, LATE)
            return
        if error:
            field, message = error
            self.add_error(field if field in self.fields else None, message)
        else:
            self.instance = Engine.objects.get(name=values["name"])


def _drain(engine: Engine, _actor: AuditActor, _data: dict[str, Any]) -> None:
    actions.drain(engine)


def _activate(engine: Engine, _actor: AuditActor, _data: dict[str, Any]) -> None:
    actions.activate(engine)


def _remove(engine: Engine, _actor: AuditActor, data: dict[str, Any]) -> None:
    actions.remove(engine, force=data["force"])


def _can_be_drained(engine: Engine) -> bool:
    return engine.draining_since is None


def _is_draining(engine: Engine) -> bool:
    return engine.draining_since is not None


DRAIN = ConfirmedAction(
    "drain",
    "Drain",
    "being drained; running sandboxes stay",
    ReasonForm,
    _drain,
    _can_be_drained,
)
ACTIVATE = ConfirmedAction("activate", "Activate", "activated", ReasonForm, _activate, _is_draining)
REMOVE = ConfirmedAction("remove", "Remove", "removed", RemovalForm, _remove, permission="delete")


class EngineList(CappedChangeList):
    """The list of engines, which reads the status of all of them at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = statuses(self.result_list)
        for row in self.result_list:
            row.status_now = found[row.name]


@admin.register(Engine)
class EngineAdmin(PortalAdmin):
    form = EngineForm
    add_form = EngineAddForm
    list_display = (
        "name",
        "status",
        "last_seen",
        "sandboxes",
        "pool",
        "memory",
        "disk",
        "launch_time",
        "weight",
        "shown_labels",
    )
    ordering = ("name",)
    confirmed_actions = (DRAIN, ACTIVATE, REMOVE)
    readonly_fields = (
        "name",
        "status",
        "sandboxes",
        "pool",
        "memory",
        "disk",
        "launch_time",
        "last_seen",
        "address",
        "publishes_on",
        "public_host",
        "version",
        "architecture",
        "missing_images",
    )
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": ("name", "weight", "labels"),
                "description": "Launches go to the engine with the most memory that no sandbox "
                "was promised, times its weight.",
            },
        ),
        (
            "Status",
            {
                "fields": (
                    "status",
                    "sandboxes",
                    "pool",
                    "memory",
                    "disk",
                    "launch_time",
                    "last_seen",
                )
            },
        ),
        (
            "Engine",
            {
                "fields": (
                    "address",
                    "publishes_on",
                    "public_host",
                    "version",
                    "architecture",
                    "missing_images",
                )
            },
        ),
    ]
    add_fieldsets: ClassVar = [
        (
            None,
            {
                "fields": (
                    "name",
                    "address",
                    "publish_address",
                    "public_host",
                    "weight",
                    "labels",
                ),
                "description": "A worker asks the engine whether it can be used, and adds it.",
            },
        ),
    ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002 - Django's signature
        return EngineList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Engine]:
        return super().get_queryset(request).filter(removed_at=None)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [*self.add_fieldsets, ("Audit log", {"fields": ("reason",)})]
        return super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_readonly_fields(request, obj) if obj else ()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        # The form declares all other fields.
        kwargs["fields"] = ("weight",)
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("BoundForm", (form,), {"actor": audit_actor(request)}) if obj is None else form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:  # noqa: ARG002 - Django's signature
        """Change an engine; a new one has been saved by the worker."""
        if change:
            actions.change(obj, form.cleaned_data["weight"], form.cleaned_data["labels"])

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Record nothing, since the worker has recorded it."""

    def describe_row(self, row: Engine) -> tuple[str, str]:
        left = self._status(row).sandboxes
        return row.name, f"{row.state}, {left} sandboxes"

    def _status(self, row: Engine) -> EngineStatus:
        """Return the status of a row; the list has read those of its rows together."""
        if not hasattr(row, "status_now"):
            row.status_now = statuses([row])[row.name]  # type: ignore[attr-defined]
        return row.status_now  # type: ignore[no-any-return, attr-defined]

    @admin.display(description="state")
    def status(self, row: Engine) -> str:
        found = self._status(row)
        now = clock.now()
        parts = [f"away for {timesince(row.away_since, now, depth=1)}"] if row.away_since else []
        if found.progress:
            last = found.last_expiry
            rest = f", up to {timeuntil(last, now, depth=1)}" if last else ""
            parts.append(f"{found.progress}{rest}")
        return "; ".join(parts) or row.state.label

    @admin.display(description="sandboxes")
    def sandboxes(self, row: Engine) -> int:
        return self._status(row).sandboxes

    @admin.display(description="pool")
    def pool(self, row: Engine) -> int:
        return self._status(row).pooled

    @admin.display(description="promised")
    def memory(self, row: Engine) -> str:
        found = self._status(row)
        return f"{found.promised_mb:,} of {found.usable_mb:,} MB"

    @admin.display(description="disk free")
    def disk(self, row: Engine) -> str:
        if row.disk_free_mb is None or row.disk_total_mb is None:
            return EMPTY
        return f"{row.disk_free_mb:,} of {row.disk_total_mb:,} MB"

    @admin.display(description="launch")
    def launch_time(self, row: Engine) -> str:
        seconds = self._status(row).launch_seconds
        return EMPTY if seconds is None else f"{seconds:g} s"

    @admin.display(description="labels")
    def shown_labels(self, row: Engine) -> str:
        return format_labels(row.labels) or EMPTY

    @admin.display(description="last seen", ordering="last_seen_at")
    def last_seen(self, row: Engine) -> str:
        seen = row.last_seen_at
        return f"{timesince(seen, clock.now(), depth=1)} ago" if seen else EMPTY

    @admin.display(description="publishes on")
    def publishes_on(self, row: Engine) -> str:
        return row.published_on

    @admin.display(description="missing images")
    def missing_images(self, row: Engine) -> SafeString | str:
        return format_pairs(dict.fromkeys(placement.missing_images(row), "launches go elsewhere"))
