"""Create, list and revoke API tokens."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from sandboxes.accounts import api_tokens
from sandboxes.lib import clock
from sandboxes.models import ApiToken
from sandboxes.views.forms import TokenForm
from sandboxes.views.helpers import Request, login_required_page

MAX_INACTIVE_SHOWN = 10


@login_required_page
@require_http_methods(["GET", "POST"])
def token_list(request: Request) -> HttpResponse:
    """List the user's tokens; POST creates one and shows it once."""
    form, made, text = TokenForm(request.POST or None), None, ""
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        made, text = api_tokens.issue(request.user, data["name"], data["scope"], form.expires_at)
        form = TokenForm()
    rows, now = request.user.api_tokens.order_by("-created_at", "-id"), clock.now()
    context = {
        "form": form,
        "made": made,
        "secret": text,
        "usable": rows.usable(now),
        "spent": rows.exclude(pk__in=rows.usable(now).values("pk"))[:MAX_INACTIVE_SHOWN],
    }
    return render(request, "sandboxes/tokens.html", context)


@login_required_page
@require_http_methods(["GET", "POST"])
def revoke(request: Request, pk: int) -> HttpResponse:
    """Revoke the token on POST; ask first on GET, for browsers without JavaScript."""
    token = get_object_or_404(ApiToken, pk=pk, user=request.user, revoked_at=None)
    if request.method == "GET":
        return render(request, "sandboxes/revoke_token.html", {"token": token})
    api_tokens.revoke(token)
    messages.success(request, f"Token {token.name} revoked.")
    return redirect("tokens")
