"""Invitations: an operator enters an address, and the emailed link allows one sign-up with it.

The link is signed and needs no secret in the database. Opening it doesn't use up the invitation,
because mail scanners open every link; creating an account does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from allauth.account.utils import filter_users_by_email
from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from sandboxes.lib import clock
from sandboxes.lib.batches import Batch
from sandboxes.models import Invitation

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)

SALT = "sandboxes.invitation"
SESSION_KEY = "invitation"
"""The session key that holds the id of the invitation whose link was opened."""
MAIL_LEASE = timedelta(minutes=1)
"""Time for one email before another worker takes over."""
RETRY_DELAY = timedelta(minutes=1)
CANDIDATES = 10

_batch = Batch("invitations")


def link(invitation: Invitation) -> str:
    """Return the URL that the email contains."""
    signed = signing.dumps([invitation.pk, invitation.email], salt=SALT)
    return f"{settings.SITE_URL}{reverse('invitation', args=[signed])}"


def find_open(signed: str) -> Invitation | None:
    """Return the invitation of this link, if it is still open."""
    try:
        pk, email = signing.loads(signed, salt=SALT)
    except signing.BadSignature:
        return None
    return Invitation.objects.open(clock.now()).filter(pk=pk, email=email).first()


def remember(request: HttpRequest, invitation: Invitation) -> None:
    """Store the invitation in the session."""
    request.session[SESSION_KEY] = invitation.pk


def current(request: HttpRequest) -> Invitation | None:
    """Return the invitation stored in the session, if it is still open."""
    pk = request.session.get(SESSION_KEY)
    return pk and Invitation.objects.open(clock.now()).filter(pk=pk).first()


def accept(request: HttpRequest, user: User) -> None:
    """Mark the invitation in the session as accepted by this user."""
    invitation = current(request)
    if invitation and invitation.email == user.email.lower():
        Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(
            accepted_at=clock.now(), accepted_by=user
        )
        del request.session[SESSION_KEY]


def has_account(email: str) -> bool:
    """Return whether an account has this address, verified or not."""
    return bool(filter_users_by_email(email))


def delete_expired(email: str) -> None:
    """Delete expired invitations of the address, because only one may be open at a time."""
    Invitation.objects.filter(email=email, accepted_at=None, expires_at__lte=clock.now()).delete()


def request_sending(invitation: Invitation) -> None:
    """Make the email of the invitation due; the caller wakes a worker."""
    Invitation.objects.filter(pk=invitation.pk).update(mail_due_at=clock.now())


def send_due() -> None:
    """Send the invitations that are due; failed ones are retried until they expire."""
    _batch.run(_send_next)


def _send_next() -> bool:
    now = clock.now()
    due = Invitation.objects.mail_due(now)
    for invitation in due.order_by("mail_due_at")[:CANDIDATES]:
        if due.claim(invitation.pk, mail_due_at=now + MAIL_LEASE):
            _send_or_postpone(invitation)
            return True
    return False


def _send_or_postpone(invitation: Invitation) -> None:
    retry_at = None
    try:
        send(invitation)
    except OSError as error:
        log.warning("mail_not_sent", invitation=invitation.pk, error=str(error))
        retry_at = clock.now() + RETRY_DELAY
    Invitation.objects.filter(pk=invitation.pk).update(mail_due_at=retry_at)


def send(invitation: Invitation) -> None:
    """Email the invitation. Raises OSError if the mail server rejects it."""
    context = {"invitation": invitation, "url": link(invitation)}
    body = render_to_string("account/email/invitation.txt", context)
    subject = f"You've been invited to {settings.PORTAL_NAME}"
    send_mail(subject, body, None, [invitation.email])
