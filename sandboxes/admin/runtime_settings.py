"""Settings that can be changed while the portal runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings as environment
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandboxes import checks
from sandboxes.admin.base import PortalAdmin
from sandboxes.models import RuntimeSettings
from sandboxes.models.runtime_settings import RUNTIME_SETTINGS, RuntimeSetting, config

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[RuntimeSettings]
else:
    ModelForm = forms.ModelForm

GROUPS = {
    "Lifetimes": ("_TTL_", "_EXTENSION_", "_CAP_", "_IDLE_", "_WARNING_"),
    "Capacity": (
        "_MAX_PER_USER",
        "_PER_HOUR",
        "_MAX_SITE",
        "_OVERCOMMIT",
        "_FREE_MEMORY_MB",
        "_CONCURRENT_",
    ),
    "Accounts": ("_SIGNUP_",),
    "Save points": ("_SAVE_POINT",),
    "Warm pool": ("_POOL_",),
    "Reaper": ("_SWEEP_", "_ORPHAN_", "_RETENTION_"),
}


class SettingsForm(ModelForm):
    """A field for each setting; an empty one keeps the environment's value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.update(
            {name: self.instance.overrides.get(name, "") for name in RUNTIME_SETTINGS}
        )

    @property
    def overrides(self) -> dict[str, Any]:
        given = {name: self.cleaned_data.get(name) for name in RUNTIME_SETTINGS}
        return {name: value for name, value in given.items() if value is not None}

    def clean(self) -> dict[str, Any] | None:
        """Check that the values are consistent with each other and with the environment's."""
        names = {
            *checks.MINIMUMS,
            *RUNTIME_SETTINGS,
            "SANDBOX_PROVISION_TIMEOUT_SECONDS",
            "SANDBOX_SUBNETS",
        }
        known = {name: getattr(environment, name) for name in names}
        for is_problem, message, hint in checks.limit_problems(
            SimpleNamespace(**known | self.overrides)
        ):
            if is_problem:
                named = [name for name in self.overrides if name in message.split()]
                self.add_error(named[0] if named else None, f"{message} {hint}")
        return self.cleaned_data


def _field(name: str, setting: RuntimeSetting) -> forms.Field:
    own = getattr(environment, name)
    label = f"{setting.label[0].upper()}{setting.label[1:]}"

    def help_text(default: str) -> SafeString:
        return format_html("Environment default: {}. Variable: <code>{}</code>.", default, name)

    if setting.type is bool:
        choices = [
            ("", f"use environment default ({'yes' if own else 'no'})"),
            ("True", "yes"),
            ("False", "no"),
        ]
        return forms.TypedChoiceField(
            choices=choices,
            coerce=lambda text: text == "True",
            empty_value=None,
            required=False,
            label=label,
            help_text=help_text("yes" if own else "no"),
        )
    if setting.type is str:
        return forms.CharField(
            required=False,
            empty_value=None,
            max_length=500,
            label=label,
            help_text=help_text(own or "none"),
            widget=forms.TextInput({"class": "vTextField", "placeholder": own}),
        )
    field_class: Any = forms.IntegerField if setting.type is int else forms.FloatField
    field: forms.Field = field_class(
        required=False,
        min_value=checks.MINIMUMS.get(name),
        label=label,
        help_text=help_text(f"{own:g}"),
        widget=forms.NumberInput({"class": "vIntegerField", "placeholder": f"{own:g}"}),
    )
    return field


def _build_form() -> Any:
    """Return the form class with a field for each setting."""
    metaclass: Any = type(SettingsForm)
    fields = {name: _field(name, setting) for name, setting in RUNTIME_SETTINGS.items()}
    return metaclass("SettingsForm", (SettingsForm,), fields)


def _fieldsets() -> Any:
    return [
        (
            title,
            {"fields": [name for name in RUNTIME_SETTINGS if any(part in name for part in parts)]},
        )
        for title, parts in GROUPS.items()
    ]


@admin.register(RuntimeSettings)
class SettingsAdmin(PortalAdmin):
    form = _build_form()
    fieldsets: ClassVar = _fieldsets()

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:  # noqa: ARG002
        """Save; applies in this process at once, in others within seconds."""
        obj.overrides = form.overrides
        obj.save(update_fields=["overrides"])
        config.reload()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """Redirect to the only row."""
        return redirect("admin:sandboxes_runtimesettings_change", RuntimeSettings.current().pk)
