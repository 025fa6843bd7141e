"""Approve or deny the sign-in of a command-line client (RFC 8628)."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from sandboxes.accounts.grants import TooManyAttempts, device_authorization
from sandboxes.views.helpers import Request, login_required_page
from sandboxes.views.well_known import too_many_requests

UNKNOWN_CODE = "No sign-in waits for this code. Check it, or run “sandbox login” again."


@login_required_page
@require_http_methods(["GET", "POST"])
def device(request: Request) -> HttpResponse:
    """Show the sign-in with the user code of the query; POST decides it."""
    values = request.POST if request.method == "POST" else request.GET
    user_code = values.get("user_code", "").strip()
    if not user_code:
        return render(request, "sandboxes/device.html")
    try:
        row = device_authorization.find(request, request.user, user_code)
    except TooManyAttempts:
        return too_many_requests(request)
    decision = request.POST.get("decision")
    if row and decision in ("approve", "deny"):
        approve = decision == "approve"
        if device_authorization.decide(row, request.user, approve=approve):
            return _report(request, row.token_name, approved=approve)
        row = None
    context = {"row": row, "user_code": user_code, "error": "" if row else UNKNOWN_CODE}
    return render(request, "sandboxes/device.html", context)


def _report(request: Request, name: str, *, approved: bool) -> HttpResponse:
    if approved:
        messages.success(request, f"Approved. Return to the terminal. The token is “{name}”.")
    else:
        messages.success(request, "Denied. The client gets no access.")
    return redirect("tokens")
