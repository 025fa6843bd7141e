"""Account pages beyond allauth's: accepting an invitation and signing out one session."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from sandboxes.accounts import invitations
from sandboxes.views.helpers import Request, login_required_page


@never_cache
@require_GET
def invitation(request: HttpRequest, signed: str) -> HttpResponse:
    """Redirect from the link of an invitation to the sign-up page with the address filled in."""
    open_invitation = invitations.find_open(signed)
    if open_invitation is None:
        return render(request, "account/invitation_invalid.html", status=410)
    if request.user.is_authenticated:
        messages.info(request, "You already have an account and are signed in.")
        return redirect("dashboard")
    invitations.remember(request, open_invitation)
    return redirect("account_signup")


@login_required_page
@require_POST
def end_session(request: Request, session: int) -> HttpResponse:
    """Sign out one of the user's other browsers."""
    get_object_or_404(UserSession, pk=session, user=request.user).end()
    messages.success(request, "Signed out.")
    return redirect("usersessions_list")
