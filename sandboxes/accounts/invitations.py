"""Invitations: an operator names an address, and the link in its mail lets it sign up once.

The link is signed and holds nothing that is secret in the database. Opening it uses nothing up,
since programs that guard mailboxes open every link; having an account does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.account.utils import filter_users_by_email
from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from sandboxes.lib import clock
from sandboxes.models import Invitation

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SALT = "sandboxes.invitation"
SESSION_KEY = "invitation"
"""The session's key for the invitation with which somebody came."""


def link(invitation: Invitation) -> str:
    """The address of the page that the mail leads to."""
    signed = signing.dumps([invitation.pk, invitation.email], salt=SALT)
    return f"{settings.SITE_URL}{reverse('invitation', args=[signed])}"


def find_open(signed: str) -> Invitation | None:
    """The invitation that this link is of, if it can still be taken."""
    try:
        pk, email = signing.loads(signed, salt=SALT)
    except signing.BadSignature:
        return None
    return Invitation.objects.open(clock.now()).filter(pk=pk, email=email).first()


def remember(request: HttpRequest, invitation: Invitation) -> None:
    """Remember with which invitation this browser came."""
    request.session[SESSION_KEY] = invitation.pk


def current(request: HttpRequest) -> Invitation | None:
    """The open invitation with which this browser came."""
    pk = request.session.get(SESSION_KEY)
    return pk and Invitation.objects.open(clock.now()).filter(pk=pk).first()


def accept(request: HttpRequest, user: User) -> None:
    """It is used up: the one who was invited has an account now."""
    invitation = current(request)
    if invitation and invitation.email == user.email.lower():
        Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(
            accepted_at=clock.now(), accepted_by=user
        )
        del request.session[SESSION_KEY]


def has_account(email: str) -> bool:
    """Whether the address is known of some account, verified or not."""
    return bool(filter_users_by_email(email))


def delete_expired(email: str) -> None:
    """Make room for a new invitation of the address: one at a time can be open."""
    Invitation.objects.filter(email=email, accepted_at=None, expires_at__lte=clock.now()).delete()


def send(invitation: Invitation) -> None:
    """Mail it. Raises OSError when the mail server does not take it."""
    context = {"invitation": invitation, "url": link(invitation)}
    body = render_to_string("account/email/invitation.txt", context)
    send_mail("You've been invited to Sandbox Portal", body, None, [invitation.email])
