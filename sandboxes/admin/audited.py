"""Admin forms that require a reason and record changes in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.adapter import get_adapter
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from sandboxes.operators import audit
from sandboxes.operators.audit import MAX_REASON_LENGTH, AuditActor

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

HIDDEN = "•••"


def reason_field(
    help_text: str = "Recorded in the audit log.", **attributes: object
) -> forms.CharField:
    return forms.CharField(
        max_length=MAX_REASON_LENGTH,
        help_text=help_text,
        widget=forms.TextInput(attrs={"class": "vTextField", **attributes}),
    )


def audit_actor(request: HttpRequest) -> AuditActor:
    """Return the operator and their IP address, ignoring headers of untrusted proxies."""
    return AuditActor(request.user, get_adapter(request).get_client_ip(request))  # type: ignore[arg-type]


class AuditedModelAdmin(ModelAdmin):
    """Requires a reason in forms, records changes, and disables Django's own deletion."""

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if self._is_edited(request, obj):
            base = getattr(self, "add_form", self.form) if obj is None else self.form
            form_metaclass: Any = type(base)
            kwargs["form"] = form_metaclass("AuditedForm", (base,), {"reason": reason_field()})
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = list(super().get_fieldsets(request, obj))
        known = flatten_fieldsets(fieldsets)
        if "reason" in known or not self._is_edited(request, obj):
            return fieldsets
        return [*fieldsets, ("Audit log", {"fields": ("reason",)})]

    def _is_edited(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None:
            return self.has_add_permission(request)
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        """Disable Django's deletion page, which asks for no reason; actions replace it."""
        return False

    def construct_change_message(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        form: Any,
        formsets: Any,  # noqa: ARG002
        add: bool = False,  # noqa: ARG002
    ) -> Any:
        """Return the old and new value of each changed field, for `log_change`."""
        return {
            name: [
                _display_value(form, name, form[name].initial),
                _display_value(form, name, form[name].data),
            ]
            for name in form.changed_data
            if name != "reason"
        }

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        return self.record(request, "add", obj, request.POST["reason"].strip(), message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        return self.record(request, "change", obj, request.POST["reason"].strip(), message)

    def record(
        self, request: HttpRequest, act: str, obj: Model, reason: str, changes: Any = None
    ) -> Any:
        return audit.record(audit_actor(request), act, obj, reason, changes)

    def history_view(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        object_id: str,
        extra_context: Any = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Redirect to the audit log of this object."""
        query = {"model": str(self.opts.verbose_name), "subject_key": object_id}
        return redirect(reverse("admin:sandboxes_auditentry_changelist") + "?" + urlencode(query))


def _display_value(form: Any, name: str, value: Any) -> Any:
    """Return a field's value as text, or as a list of texts; hide passwords."""
    if "password" in name or isinstance(form.fields[name].widget, forms.PasswordInput):
        return HIDDEN
    if callable(value):
        value = value()
    if isinstance(value, QuerySet | list | tuple):
        return [str(getattr(one, "pk", one)) for one in value]
    return "" if value is None else str(value)
