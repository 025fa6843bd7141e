"""Save sandboxes, restore them, launch from save points, rename and delete what was saved."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from sandboxes import actions
from sandboxes.actions import save_points as save_point_actions
from sandboxes.lib.exceptions import ServiceError
from sandboxes.models import SavePoint, SavePointState
from sandboxes.models.runtime_settings import config
from sandboxes.views import pending_resets
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page


@login_required_page
@require_GET
def save_point_list(request: Request) -> HttpResponse:
    """List the user's save points and all starting points."""
    own = list(request.user.save_points.listed().select_related("sandbox").newest_first())
    starting_points = SavePoint.objects.ready().filter(is_starting_point=True).newest_first()
    context = {
        "save_points": own,
        "starting_points": starting_points.exclude(owner=request.user),
        "is_saving": any(row.state == SavePointState.SAVING for row in own),
        "total_mb": sum(row.size_mb for row in own if row.is_ready),
        "kept": sum(row.slot is not None for row in own),
        "most": config.SANDBOX_SAVE_POINTS_PER_USER,
        "most_mb": config.SANDBOX_SAVE_POINTS_MB,
    }
    return render(request, "sandboxes/save_points.html", context)


@login_required_page
@require_POST
def create(request: Request, public_id: str) -> HttpResponse:
    sandbox = get_owned_sandbox(request, public_id)

    def action() -> str:
        save_point_actions.create(sandbox, request.POST.get("name", ""), request.user)
        return ""

    return _perform(request, action)


@login_required_page
@require_POST
def restore(request: Request, save_point_id: str) -> HttpResponse:
    """Restore the sandbox, and show it."""
    save_point = _get_save_point(request, save_point_id)
    try:
        sandbox = save_point_actions.restore(save_point, request.user)
    except ServiceError as error:
        messages.error(request, str(error))
        return redirect("save-points")
    pending_resets.remember(request, sandbox)
    return redirect("sandbox", sandbox.public_id)


@login_required_page
@require_POST
def launch(request: Request, save_point_id: str) -> HttpResponse:
    """Launch a sandbox from a save point, and show its card."""
    choice = actions.LaunchRequest(save_point=save_point_id)
    try:
        sandbox, _ = actions.launch_sandbox(request.user, choice)
    except ServiceError as error:
        messages.error(request, str(error))
        return redirect("save-points")
    return redirect(f"{reverse('dashboard')}#card-{sandbox.public_id}")


@login_required_page
@require_POST
def rename(request: Request, save_point_id: str) -> HttpResponse:
    save_point = _get_save_point(request, save_point_id)

    def action() -> str:
        save_point_actions.rename(save_point, request.POST.get("name", ""))
        return f"Renamed to {save_point}."

    return _perform(request, action)


@login_required_page
@require_POST
def delete(request: Request, save_point_id: str) -> HttpResponse:
    save_point = _get_save_point(request, save_point_id)

    def action() -> str:
        save_point_actions.delete(save_point)
        return f"Deleted {save_point}."

    return _perform(request, action)


def _get_save_point(request: Request, save_point_id: str) -> SavePoint:
    """Return the user's save point. Raises Http404."""
    return get_object_or_404(request.user.save_points.listed(), public_id=save_point_id)


def _perform(request: Request, action: Callable[[], str]) -> HttpResponse:
    """Perform the action, and show the list with its result."""
    try:
        if done := action():
            messages.success(request, done)
    except ServiceError as error:
        messages.error(request, str(error))
    return redirect("save-points")
