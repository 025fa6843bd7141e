"""Notification preferences, and the current warnings."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from sandboxes.models import Preferences
from sandboxes.models.runtime_settings import config
from sandboxes.notifications import sandbox_warnings
from sandboxes.views.forms import PreferencesForm
from sandboxes.views.helpers import Request, login_required_page
from sandboxes.views.warning_banner import warning_banners_context


@login_required_page
@require_http_methods(["GET", "POST"])
def preferences(request: Request) -> HttpResponse:
    form = PreferencesForm(request.POST or None, instance=Preferences.for_user(request.user))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Preferences saved.")
        return redirect("preferences")
    context = {"form": form, "minutes": config.SANDBOX_WARNING_MINUTES}
    return render(request, "sandboxes/preferences.html", context)


@login_required_page
@require_POST
def notify_me(request: Request) -> HttpResponse:
    """Turn on browser notifications from a warning banner."""
    Preferences.objects.update_or_create(user=request.user, defaults={"browser": True})
    return HttpResponse(status=204)


@login_required_page
@require_GET
def warnings(request: Request) -> HttpResponse:
    """Return the current banners, or 204 if the page already shows them."""
    where = request.GET.get("where", "")
    context = warning_banners_context(
        sandbox_warnings.active_warnings(request.user), request.user, where
    )
    if context["etag"] == request.GET.get("etag", ""):
        return HttpResponse(status=204)
    return render(request, "sandboxes/_warning_banners.html", context)
