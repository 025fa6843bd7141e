"""The API explorer: a sandbox's own API inside the portal, with its key, to send requests from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from sandboxes import actions
from sandboxes import explorer as sandboxes_explorer
from sandboxes.explorer.openapi import Description, Operation, Parameter
from sandboxes.lib.exceptions import ServiceError, ValidationFailed
from sandboxes.lib.untrusted_json import dumps_pretty
from sandboxes.models import Sandbox
from sandboxes.views.explorer_response import Shown
from sandboxes.views.explorer_tables import read_table
from sandboxes.views.helpers import Request, own_sandbox, page
from sandboxes.views.sandbox_card import Card
from sandboxes.views.snippets import access, curl

KEY_VARIABLE = "$API_KEY"


@dataclass(frozen=True)
class Try:
    """An operation and what is filled in: by the person, else what can be sent as it is."""

    operation: Operation
    values: Mapping[str, str]
    typed: bool = False
    """Whether the values are all that there is, so that nothing is put where there is none."""

    @property
    def inputs(self) -> list[tuple[Parameter, str]]:
        return [(one, self._value(one)) for one in self.operation.parameters]

    def _value(self, parameter: Parameter) -> str:
        usual = parameter.example if parameter.required and not self.typed else ""
        return self.values.get(parameter.key, usual)

    @property
    def body(self) -> str:
        if self.operation.body is None or "body" in self.values:
            return self.values.get("body", "")
        return dumps_pretty(self.operation.body.example)

    @property
    def rows(self) -> int:
        """Lines of the body's field: all that is in it, and room to go on."""
        return min(max(self.body.count("\n") + 3, 6), 18)

    @property
    def ask(self) -> sandboxes_explorer.Ask:
        """Raises ValidationFailed."""
        target = self.operation.target(self.values)
        body = self.body.strip().replace("\r\n", "\n") if self.operation.body else ""
        return sandboxes_explorer.Ask(self.operation.method, target, body.encode())


def _chosen(description: Description, values: Mapping[str, str], *, typed: bool = False) -> Try:
    """The operation that the values name; the first list, or the first of all, if none."""
    known = description.operations
    usual = (*description.lists, *known.values())[0]
    return Try(known.get(values.get("operation", ""), usual), values, typed)


@page
@require_GET
def explorer(request: Request, public_id: str) -> HttpResponse:
    """All of it, or with htmx the part that a click is about."""
    sandbox = own_sandbox(request, public_id)
    part = request.htmx.target if not request.htmx.history_restore_request else ""
    context: dict[str, Any] = {"sandbox": sandbox}
    try:
        context |= _described(sandbox)
    except ServiceError as refused:
        context["problem"] = str(refused)
    else:
        description = context["description"]
        context["trial"] = trial = _chosen(description, request.GET.dict())
        if part != "requests":
            asked = request.GET.dict()
            context["table"] = read_table(sandbox, description, trial.operation, asked)
            context["wanted_row"] = asked.get("row", "")
    names = {"requests": "_explorer_requests", "data": "_explorer_table"}
    return render(request, f"sandboxes/{names.get(part or '', 'explorer')}.html", context)


def _described(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "description": sandboxes_explorer.describe(sandbox),
        "address": sandboxes_explorer.api_of(sandbox),
    }


@page
@require_POST
def send(request: Request, public_id: str) -> HttpResponse:
    """Send what is filled in, or with `as=curl` tell the command that would, with the key."""
    sandbox = own_sandbox(request, public_id)
    context: dict[str, Any] = {"sandbox": sandbox}
    try:
        context |= _described(sandbox)
        trial = _chosen(context["description"], request.POST.dict(), typed=True)
        context["trial"] = trial
        if request.POST.get("as") == "curl":
            context["command"] = _command(request, sandbox, trial)
        else:
            context["shown"] = _shown(sandbox, trial)
    except ValidationFailed as invalid:
        context["refusal"] = f"{invalid.field}: {invalid}"
    except ServiceError as refused:
        context["refusal"] = str(refused)
    if "trial" not in context:
        context["problem"] = context["refusal"]
    elif not request.htmx or _has_changed_something(context):
        context["table"] = read_table(sandbox, context["description"], trial.operation)
    name = "_explorer_oob" if request.htmx else "explorer"
    return render(request, f"sandboxes/{name}.html", context)


def _has_changed_something(context: dict[str, Any]) -> bool:
    shown: Shown | None = context.get("shown")
    changes = context["trial"].operation.method != "GET"
    return changes and shown is not None and shown.answer.succeeded


def _shown(sandbox: Sandbox, trial: Try) -> Shown:
    ask = trial.ask
    address = f"{sandboxes_explorer.api_of(sandbox)}{ask.target}"
    command = curl(ask.method, address, KEY_VARIABLE, ask.body.decode())
    return Shown(sandboxes_explorer.send(sandbox, ask), f"{ask.method} {address}", command)


def _command(request: Request, sandbox: Sandbox, trial: Try) -> str:
    ask = trial.ask
    own = access(Card(sandbox), actions.read_credentials(sandbox, request.user))
    return curl(ask.method, f"{own.address}{ask.target}", own.key, ask.body.decode())
