"""Create, test, change and delete webhooks, and list their deliveries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from sandboxes.lib.exceptions import ServiceError, ValidationFailed
from sandboxes.lib.pagination import paginate_newest_first
from sandboxes.models import DeliveryStatus, Webhook
from sandboxes.views.forms import WebhookForm
from sandboxes.views.helpers import Request, login_required_page
from sandboxes.webhooks import endpoints, outbox

PAGE_SIZE = 20


def _get_owned_webhook(request: Request, webhook_id: str) -> Webhook:
    """Return the user's webhook. Raises Http404 if it isn't theirs."""
    return get_object_or_404(request.user.webhooks.all(), public_id=webhook_id)


def _submit(form: WebhookForm, action: Callable[..., Any]) -> Any:
    """Call the action with the form's data; return None and add the error if that fails."""
    if not form.is_valid():
        return None
    try:
        return action(**form.cleaned_data)
    except ValidationFailed as error:
        form.add_error(error.field, str(error))
    except ServiceError as error:
        form.add_error(None, str(error))
    return None


@login_required_page
@require_http_methods(["GET", "POST"])
def webhook_list(request: Request) -> HttpResponse:
    """List the user's webhooks; POST creates one and shows its secret once."""
    form, made, secret = WebhookForm(request.POST or None), None, ""
    if request.method == "POST" and (
        done := _submit(form, lambda **data: endpoints.create(request.user, **data))
    ):
        (made, secret), form = done, WebhookForm()
    rows = list(request.user.webhooks.order_by("pk"))
    context = {
        "form": form,
        "made": made,
        "secret": secret,
        "webhooks": rows,
        "most": settings.WEBHOOKS_PER_USER,
        "is_full": len(rows) >= settings.WEBHOOKS_PER_USER,
    }
    return render(request, "sandboxes/webhooks.html", context)


@login_required_page
@require_http_methods(["GET", "POST"])
def webhook(request: Request, webhook_id: str) -> HttpResponse:
    """Show a webhook with its deliveries; POST changes it."""
    row = _get_owned_webhook(request, webhook_id)
    if request.method == "GET":
        return _render(request, row)
    form = WebhookForm(request.POST)

    def change(**data: Any) -> bool:
        endpoints.update(row, **data)
        return True

    if not _submit(form, change):
        return _render(request, _get_owned_webhook(request, webhook_id), form=form)
    messages.success(request, "Changes saved.")
    return redirect("webhook", webhook_id)


def _render(request: Request, row: Webhook, **more: Any) -> HttpResponse:
    values = {"url": row.url, "name": row.name, "events": row.events}
    context = {"form": WebhookForm(initial=values), **_log_context(request, row), **more}
    return render(request, "sandboxes/webhook.html", context)


def _log_context(request: Request, row: Webhook) -> dict[str, Any]:
    cursor = request.GET.get("cursor", "")
    try:
        found = paginate_newest_first(
            row.deliveries.all(), "created_at", PAGE_SIZE, cursor, "deliveries"
        )
    except ValidationFailed:
        found = paginate_newest_first(
            row.deliveries.all(), "created_at", PAGE_SIZE, "", "deliveries"
        )
    deliveries, following = found
    auto_refresh = any(one.status == DeliveryStatus.PENDING and not one.log for one in deliveries)
    return {
        "webhook": row,
        "deliveries": deliveries,
        "following": following,
        "cursor": cursor,
        "auto_refresh": auto_refresh,
    }


@login_required_page
@require_GET
def log(request: Request, webhook_id: str) -> HttpResponse:
    """Return the list of deliveries, for pages that wait for one."""
    return render(
        request,
        "sandboxes/_deliveries.html",
        _log_context(request, _get_owned_webhook(request, webhook_id)),
    )


def _perform(
    request: Request, row: Webhook, action: Callable[[], object], success: str
) -> HttpResponse:
    try:
        action()
        messages.success(request, success)
    except ServiceError as error:
        messages.error(request, str(error))
    return redirect("webhook", row.public_id)


@login_required_page
@require_POST
def test(request: Request, webhook_id: str) -> HttpResponse:
    row = _get_owned_webhook(request, webhook_id)
    return _perform(request, row, lambda: outbox.send_test(row), "Test event sent.")


@login_required_page
@require_POST
def resend(request: Request, webhook_id: str, message_id: str) -> HttpResponse:
    row = _get_owned_webhook(request, webhook_id)
    delivery = get_object_or_404(row.deliveries.select_related("webhook"), message_id=message_id)
    return _perform(request, row, lambda: outbox.resend(delivery), "Event resent.")


@login_required_page
@require_POST
def toggle(request: Request, webhook_id: str) -> HttpResponse:
    row, enabled = _get_owned_webhook(request, webhook_id), request.POST.get("on") == "yes"
    message = "Webhook enabled." if enabled else "Webhook disabled."
    return _perform(request, row, lambda: endpoints.set_enabled(row, enabled=enabled), message)


@login_required_page
@require_http_methods(["GET", "POST"])
def rotate(request: Request, webhook_id: str) -> HttpResponse:
    """Create a new secret on POST and show it once; ask first on GET."""
    row = _get_owned_webhook(request, webhook_id)
    if request.method == "GET":
        return render(request, "sandboxes/confirm_webhook.html", {"webhook": row, "verb": "rotate"})
    return _render(request, row, secret=endpoints.rotate_secret(row))


@login_required_page
@require_http_methods(["GET", "POST"])
def delete(request: Request, webhook_id: str) -> HttpResponse:
    """Delete the webhook on POST; ask first on GET."""
    row = _get_owned_webhook(request, webhook_id)
    if request.method == "GET":
        return render(request, "sandboxes/confirm_webhook.html", {"webhook": row, "verb": "delete"})
    endpoints.delete(row)
    messages.success(request, f"Webhook {row} deleted.")
    return redirect("webhooks")
