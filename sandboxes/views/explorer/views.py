"""The API explorer: send requests to a sandbox's API from the portal, with its key."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from sandboxes import actions
from sandboxes import explorer as sandboxes_explorer
from sandboxes.explorer.openapi import Description, Operation, Parameter
from sandboxes.lib.exceptions import ServiceError, Unavailable, ValidationFailed
from sandboxes.lib.untrusted_json import dumps_pretty
from sandboxes.models import Sandbox
from sandboxes.views.explorer.response import RenderedResponse
from sandboxes.views.explorer.tables import read_table
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page
from sandboxes.views.request_code import Call, curl
from sandboxes.views.sandbox_card import Card
from sandboxes.views.snippets import explorer_access, portal_headers


@dataclass(frozen=True)
class OperationForm:
    """A form for an operation, filled with the user's values or with examples."""

    operation: Operation
    values: Mapping[str, str]
    typed: bool = False
    """Whether the values are a submitted form, so that examples don't fill empty fields."""

    @property
    def inputs(self) -> list[tuple[Parameter, str]]:
        return [(one, self._value(one)) for one in self.operation.parameters]

    def _value(self, parameter: Parameter) -> str:
        default = parameter.example if parameter.required and not self.typed else ""
        return self.values.get(parameter.key, default)

    @property
    def body(self) -> str:
        if self.operation.body is None or "body" in self.values:
            return self.values.get("body", "")
        return dumps_pretty(self.operation.body.example)

    @property
    def rows(self) -> int:
        """Rows of the body's text area: its lines and some space."""
        return min(max(self.body.count("\n") + 3, 6), 18)

    @property
    def request(self) -> sandboxes_explorer.ApiRequest:
        """The request to send. Raises ValidationFailed."""
        target = self.operation.target(self.values)
        body = self.body.strip().replace("\r\n", "\n") if self.operation.body else ""
        return sandboxes_explorer.ApiRequest(
            self.operation.method, target, body.encode(), self.operation.headers(self.values)
        )


def _select_operation(
    description: Description, values: Mapping[str, str], *, typed: bool = False
) -> OperationForm:
    """Return the form of the selected operation; by default the first list, or the first one."""
    operations = description.operations
    default = (*description.lists, *operations.values())[0]
    return OperationForm(operations.get(values.get("operation", ""), default), values, typed)


@login_required_page
@require_GET
def explorer(request: Request, public_id: str) -> HttpResponse:
    """Show the explorer, or for htmx only the part that was requested."""
    sandbox = get_owned_sandbox(request, public_id)
    part = request.htmx.target if not request.htmx.history_restore_request else ""
    context: dict[str, Any] = {"sandbox": sandbox}
    names = {"requests": "_explorer_requests", "data": "_explorer_table"}
    template = f"sandboxes/{names.get(part or '', 'explorer')}.html"
    with ExitStack() as stack:
        try:
            stack.enter_context(sandboxes_explorer.page_limit.slot(sandbox.owner_id))
            context |= _api_context(sandbox)
        except ServiceError as error:
            context["problem"] = str(error)
        else:
            description = context["description"]
            context["form"] = form = _select_operation(description, request.GET.dict())
            if part != "requests":
                asked = request.GET.dict()
                context["table"] = read_table(sandbox, description, form.operation, asked)
                context["wanted_row"] = asked.get("row", "")
        return render(request, template, context)


def _api_context(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "description": sandboxes_explorer.fetch_openapi(sandbox),
        "address": sandboxes_explorer.api_base_url(sandbox),
        "credential": explorer_access(Card(sandbox), {}).auth.credential,
    }


@login_required_page
@require_GET
def reference(request: Request, public_id: str) -> HttpResponse:
    """Show the API's OpenAPI document, which the page then loads."""
    sandbox = get_owned_sandbox(request, public_id)
    context = {
        "sandbox": sandbox,
        "title": f"API of {sandbox}",
        "specification_url": reverse("download-openapi", args=[public_id]),
    }
    try:
        sandboxes_explorer.api_base_url(sandbox)
    except ServiceError as error:
        context["problem"] = str(error)
    return render(request, "documentation/api_reference.html", context)


@login_required_page
@require_http_methods(["GET", "POST"])
def send(request: Request, public_id: str) -> HttpResponse:
    """Send the request, or return its curl command with the key if `as=curl`."""
    sandbox = get_owned_sandbox(request, public_id)
    if request.method == "GET":
        # Going back to a response that was shown without htmx leads here.
        return redirect("explorer", public_id)
    try:
        with sandboxes_explorer.page_limit.slot(sandbox.owner_id):
            return _send_and_render(request, sandbox)
    except Unavailable as error:
        return _render_sent(request, {"sandbox": sandbox, "error": str(error)})


def _send_and_render(request: Request, sandbox: Sandbox) -> HttpResponse:
    context: dict[str, Any] = {"sandbox": sandbox}
    try:
        context |= _api_context(sandbox)
        form = _select_operation(context["description"], request.POST.dict(), typed=True)
        context["form"] = form
        if request.POST.get("as") == "curl":
            context["command"] = _curl_command(request, sandbox, form)
        else:
            context["response"] = _send(sandbox, form)
    except ValidationFailed as error:
        context["error"] = f"{error.field}: {error}"
    except ServiceError as error:
        context["error"] = str(error)
    if "form" in context and (not request.htmx or _has_changed_something(context)):
        context["table"] = read_table(sandbox, context["description"], form.operation)
    return _render_sent(request, context)


def _render_sent(request: Request, context: dict[str, Any]) -> HttpResponse:
    if "form" not in context:
        context["problem"] = context["error"]
    name = "_explorer_oob" if request.htmx else "explorer"
    return render(request, f"sandboxes/{name}.html", context)


def _has_changed_something(context: dict[str, Any]) -> bool:
    response: RenderedResponse | None = context.get("response")
    changes = context["form"].operation.method != "GET"
    return changes and response is not None and response.response.succeeded


def _send(sandbox: Sandbox, form: OperationForm) -> RenderedResponse:
    api_request = form.request
    card = Card(sandbox)
    access = explorer_access(card, {})
    command = curl(_call(api_request, card), access.with_variable())
    return RenderedResponse(sandboxes_explorer.send(sandbox, api_request), command)


def _curl_command(request: Request, sandbox: Sandbox, form: OperationForm) -> str:
    api_request = form.request
    card = Card(sandbox)
    access = explorer_access(card, {})
    if access.auth.credential:
        keys = actions.read_credentials(sandbox, request.user)
        access = explorer_access(card, keys)
    return curl(_call(api_request, card), access)


def _call(request: sandboxes_explorer.ApiRequest, card: Card) -> Call:
    headers = [*portal_headers(card), *request.headers]
    return Call(request.method, request.target, headers, request.body.decode())
