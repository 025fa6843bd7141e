"""Webhooks of mine: made, tested, changed, and what became of what they were told."""

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
    """The caller's own. Raises Http404."""
    return get_object_or_404(request.user.webhooks.all(), public_id=webhook_id)


def _submit(form: WebhookForm, act: Callable[..., Any]) -> Any:
    """What the act answers to the valid form; None, and the form says why, when it is refused."""
    if not form.is_valid():
        return None
    try:
        return act(**form.cleaned_data)
    except ValidationFailed as refused:
        form.add_error(refused.field, str(refused))
    except ServiceError as refused:
        form.add_error(None, str(refused))
    return None


@login_required_page
@require_http_methods(["GET", "POST"])
def webhook_list(request: Request) -> HttpResponse:
    """All of mine; POST makes one and answers with its secret, which is shown just then."""
    form, made, secret = WebhookForm(request.POST or None), None, ""
    if request.method == "POST" and (
        done := _submit(form, lambda **said: endpoints.create(request.user, **said))
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
    """One of mine with its log; POST changes it."""
    row = _get_owned_webhook(request, webhook_id)
    if request.method == "GET":
        return _render(request, row)
    form = WebhookForm(request.POST)

    def change(**said: Any) -> bool:
        endpoints.update(row, **said)
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
    auto_refresh = any(one.outcome == DeliveryStatus.PENDING and not one.log for one in deliveries)
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
    """Its log alone, for a page on which something is on its way."""
    return render(
        request,
        "sandboxes/_deliveries.html",
        _log_context(request, _get_owned_webhook(request, webhook_id)),
    )


def _perform(request: Request, row: Webhook, act: Callable[[], object], told: str) -> HttpResponse:
    try:
        act()
        messages.success(request, told)
    except ServiceError as refused:
        messages.error(request, str(refused))
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
    row, on = _get_owned_webhook(request, webhook_id), request.POST.get("on") == "yes"
    told = "Webhook enabled." if on else "Webhook disabled."
    return _perform(request, row, lambda: endpoints.set_enabled(row, enabled=on), told)


@login_required_page
@require_http_methods(["GET", "POST"])
def rotate(request: Request, webhook_id: str) -> HttpResponse:
    """POST makes a new secret and shows it just then; GET asks first."""
    row = _get_owned_webhook(request, webhook_id)
    if request.method == "GET":
        return render(request, "sandboxes/confirm_webhook.html", {"webhook": row, "verb": "rotate"})
    return _render(request, row, secret=endpoints.rotate_secret(row))


@login_required_page
@require_http_methods(["GET", "POST"])
def delete(request: Request, webhook_id: str) -> HttpResponse:
    """POST deletes; GET asks first."""
    row = _get_owned_webhook(request, webhook_id)
    if request.method == "GET":
        return render(request, "sandboxes/confirm_webhook.html", {"webhook": row, "verb": "delete"})
    endpoints.delete(row)
    messages.success(request, f"Webhook {row} deleted.")
    return redirect("webhooks")
