"""Rules by which CI jobs get API tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sandboxes.accounts import api_tokens
from sandboxes.admin.audited import audit_actor
from sandboxes.admin.base import PortalAdmin
from sandboxes.admin.confirmations import ConfirmedAction, ReasonForm
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import IdentityRule, LimitOverride
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor
from sandboxes.operators.privileges import require_control

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[IdentityRule]
else:
    ModelForm = forms.ModelForm


class IdentityRuleForm(ModelForm):
    """A rule, with the quota of its account."""

    max_active = forms.IntegerField(
        label="Sandboxes at a time",
        required=False,
        min_value=0,
        max_value=32_767,
        help_text="The quota of the account, which all its rules share. Empty leaves it as it is.",
    )
    actor: Any = None
    """The operator; the admin sets it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        override = LimitOverride.objects.filter(user=self.instance.user_id or 0).first()
        if override and "max_active" in self.fields:
            self.fields["max_active"].initial = override.max_active

    def clean_user(self) -> Any:
        """Refuse accounts with permissions that the operator lacks."""
        user = self.cleaned_data["user"]
        try:
            require_control(self.actor, user)
        except StateConflict as error:
            raise ValidationError(str(error)) from None
        return user


def _remove(rule: IdentityRule, _actor: AuditActor, _data: dict[str, Any]) -> None:
    api_tokens.revoke_all_of(rule)
    rule.delete()


REMOVE = ConfirmedAction("remove", "Remove", "removed", ReasonForm, _remove, permission="delete")


@admin.register(IdentityRule)
class IdentityRuleAdmin(PortalAdmin):
    """Rules, each with a link to the tokens that jobs got by it."""

    form = IdentityRuleForm
    list_display = ("name", "issuer", "claims", "account", "enabled", "last_used_at")
    list_filter = ("enabled",)
    list_select_related = ("user",)
    search_fields = ("name", "issuer", "user__email")
    search_help_text = "Name, issuer, or the account's email address"
    ordering = ("name",)
    autocomplete_fields = ("user",)
    confirmed_actions = (REMOVE,)
    fields = (
        "name",
        "issuer",
        "audience",
        "claims",
        "user",
        "max_active",
        "scope",
        "token_minutes",
        "enabled",
    )

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.actor = request.user
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {
            "audience": request.build_absolute_uri("/").rstrip("/"),
            **super().get_changeform_initial_data(request),
        }

    @admin.display(ordering="user__email")
    def account(self, row: IdentityRule) -> SafeString:
        url = reverse("admin:auth_user_change", args=[row.user_id])
        return format_html('<a href="{}">{}</a>', url, audit.display_name(row.user))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Save the rule and the quota; revoke tokens that a changed rule might not allow."""
        super().save_model(request, obj, form, change)
        restricting = {"issuer", "audience", "claims", "user", "scope", "enabled"}
        if change and restricting.intersection(form.changed_data):
            api_tokens.revoke_all_of(obj)
        if (quota := form.cleaned_data.get("max_active")) is None:
            return
        reason = form.cleaned_data["reason"]
        override, _ = LimitOverride.objects.get_or_create(
            user=obj.user, defaults={"reason": reason}
        )
        if override.max_active != quota:
            before, override.max_active = override.max_active, quota
            override.save(update_fields=["max_active"])
            audit.record(
                audit_actor(request), "change", override, reason, {"max_active": [before, quota]}
            )
