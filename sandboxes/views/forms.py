"""Forms to launch a sandbox, create an API token or a webhook, and set preferences."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.functional import cached_property

from sandboxes.actions import LaunchRequest, launchable_blueprints
from sandboxes.blueprints.parameters import (
    InvalidValue,
    Parameter,
    ParameterType,
    Value,
    variable_texts,
)
from sandboxes.core import limits
from sandboxes.lib import clock, names
from sandboxes.models import EventType, Preferences, Scope
from sandboxes.models.runtime_settings import config
from sandboxes.representations import display
from sandboxes.webhooks.url_policy import MAX_URL_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.contrib.auth.models import User

    from sandboxes.blueprints import Blueprint

    PreferencesModelForm = forms.ModelForm[Preferences]
else:
    PreferencesModelForm = forms.ModelForm

LIFETIMES = (15, 30, 60, 90, 120)
"""Minutes to choose from on the page; the API accepts any number within the limits."""


MAX_MINUTES_DIGITS = 5
"""Longer input isn't accepted as a number of minutes."""


def new_key() -> str:
    """Return an idempotency key for a rendered form, so that a double click launches once."""
    return uuid.uuid4().hex


class NameField(forms.CharField):
    """A name. Its length isn't limited in the browser, which doesn't count characters."""

    def clean(self, value: Any) -> str:
        try:
            return names.clean_name(super().clean(value))
        except names.InvalidName as error:
            raise forms.ValidationError(str(error)) from error


class ParameterField(forms.Field):
    """A parameter of a blueprint; None if the form was sent without it."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        widget: forms.Widget = forms.TextInput(attrs={"autocomplete": "off"})
        choices = [(value, value) for value in parameter.values]
        if parameter.type == ParameterType.BOOLEAN:
            choices = [
                (text, display.parameter_value(text == "true")) for text in ("true", "false")
            ]
        if choices:
            widget = forms.Select(choices=choices)
        elif parameter.type == ParameterType.INTEGER and parameter.minimum >= 0:
            # The keyboard of digits has no minus.
            widget.attrs["inputmode"] = "numeric"
        super().__init__(
            required=False,
            widget=widget,
            label=parameter.title,
            help_text=parameter.help or parameter.range_hint,
            initial=variable_texts({"": parameter.default})[""],
        )

    def clean(self, value: Any) -> Value | None:
        if value is None:
            return None
        try:
            return self.parameter.parse(value)
        except InvalidValue as error:
            raise forms.ValidationError(str(error)) from error


class LaunchForm(forms.Form):
    """Options of a new sandbox; all have defaults, so one click launches."""

    blueprint = forms.ChoiceField(required=False)
    name = NameField(
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    ttl_minutes = forms.IntegerField(required=False, label="Lifetime")
    key = forms.CharField(initial=new_key, max_length=64, widget=forms.HiddenInput)
    options_of = forms.CharField(required=False, widget=forms.HiddenInput)
    """The blueprint whose options the form showed; empty if it didn't come from the page."""
    notice = ""
    """Why the page shows the form again, if it has no error."""

    def __init__(
        self,
        user: User,
        *args: object,
        own: limits.Limits | None = None,
        offered: Mapping[str, Blueprint] | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.user = user
        self.limits = own or limits.get_limits(user)
        self.offered = launchable_blueprints() if offered is None else offered
        choices = [(name, made.title) for name, made in self.offered.items()]
        self.fields["blueprint"].choices = choices  # type: ignore[attr-defined]
        self.fields["blueprint"].initial = config.SANDBOX_DEFAULT_BLUEPRINT
        self.parameters = self.chosen.parameters if self.chosen else {}
        for name, parameter in self.parameters.items():
            self.fields[f"parameters.{name}"] = ParameterField(parameter)

    @property
    def chosen(self) -> Blueprint | None:
        """The selected blueprint, if it is offered."""
        return self.offered.get(self.chosen_name)

    @property
    def chosen_name(self) -> str:
        """The name of the selected blueprint."""
        return str(self["blueprint"].value() or config.SANDBOX_DEFAULT_BLUEPRINT)

    @property
    def showed_options(self) -> bool:
        """Whether the form was sent from a page with the parameters of the selected blueprint.

        Without JavaScript, the page still shows those of the blueprint that was selected before.
        """
        shown_of = self["options_of"].value()
        return not self.parameters or shown_of in (None, "", self.chosen_name)

    def with_options(self) -> LaunchForm:
        """Return the form, not sent yet, with the options of the selected blueprint."""
        entered = {name: self[name].value() for name in ("blueprint", "name", "ttl_minutes")}
        return LaunchForm(self.user, own=self.limits, offered=self.offered, initial=entered)

    @property
    def chosen_limits(self) -> limits.Limits:
        """The user's limits for the selected blueprint."""
        return self.limits.within(self.chosen.limits) if self.chosen else self.limits

    @property
    def lifetimes(self) -> list[int]:
        """Lifetimes to choose from, including the default."""
        own = self.chosen_limits
        allowed = {m for m in LIFETIMES if own.ttl_min_minutes <= m <= own.ttl_max_minutes}
        return sorted(allowed | {own.ttl_minutes})

    @property
    def lifetime(self) -> int:
        """The selected lifetime; the default if the blueprint doesn't allow it."""
        selected = parse_minutes(self["ttl_minutes"].value())
        return selected if selected in self.lifetimes else self.chosen_limits.ttl_minutes

    @cached_property
    def request(self) -> LaunchRequest:
        """The launch request of a valid form."""
        data = self.cleaned_data
        chosen = {name: data[f"parameters.{name}"] for name in self.parameters}
        sent = {name: value for name, value in chosen.items() if value is not None}
        return LaunchRequest(data["blueprint"] or None, data["ttl_minutes"], data["name"], sent)

    @property
    def parameter_fields(self) -> list[forms.BoundField]:
        """The fields of the selected blueprint's parameters."""
        return [self[f"parameters.{name}"] for name in self.parameters]

    def with_new_key(self) -> LaunchForm:
        """Return the form with the same values and a new idempotency key."""
        self.data = dict(self.data.items()) | {"key": new_key()}
        return self


def parse_minutes(value: object) -> int | None:
    """Return the entered minutes, or None if they aren't a number."""
    text = str(value)
    is_number = text.isascii() and text.isdecimal() and len(text) <= MAX_MINUTES_DIGITS
    return int(text) if is_number else None


class TokenForm(forms.Form):
    """A new API token. It expires in that many days; empty means never."""

    EXPIRIES = (
        ("7", "7 days"),
        ("30", "30 days"),
        ("90", "90 days"),
        ("365", "1 year"),
    )

    name = NameField(
        label="Name",
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "ci-pipeline"}),
        help_text="A name to help you recognize it.",
    )
    scope = forms.ChoiceField(choices=Scope, initial=Scope.READ, widget=forms.RadioSelect)
    expires = forms.ChoiceField(
        choices=(*EXPIRIES, ("", "Never")),
        initial="90",
        required=False,
        label="Expires after",
    )

    @property
    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["expires"]
        return clock.now() + timedelta(days=int(days)) if days else None


class WebhookForm(forms.Form):
    """A webhook's URL and events. `sandboxes.webhooks` validates the URL."""

    url = forms.CharField(
        label="Endpoint URL",
        max_length=MAX_URL_LENGTH,
        widget=forms.URLInput(
            attrs={"autocomplete": "off", "placeholder": "https://example.com/hooks/sandboxes"}
        ),
        help_text="We POST each event here. Respond with 2xx within 15 seconds.",
    )
    name = NameField(
        label="Name",
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "chatbot"}),
    )
    events = forms.MultipleChoiceField(
        label="Events",
        choices=EventType,
        initial=EventType.values,
        widget=forms.CheckboxSelectMultiple,
    )


class PreferencesForm(PreferencesModelForm):
    """How the user wants to be warned, in addition to the banner."""

    class Meta:
        model = Preferences
        fields = ("mail_idle", "mail_expiry", "browser")
