"""What its owner is told by e-mail."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from sandboxes.lifecycle import journal
from sandboxes.models import Event, Sandbox, State


def send_warning(sandbox: Sandbox, clock_name: str) -> None:
    """Tell the owner that the sandbox ends soon; `clock_name` is `idle` or `expired`.

    Says nothing when the deadline has moved since the warning was due.
    """
    idle = clock_name == "idle"
    deadline = sandbox.idle_expires_at if idle else sandbox.expires_at
    due_for = sandbox.warned_idle_for if idle else sandbox.warned_expiry_for
    if sandbox.state != State.RUNNING or deadline != due_for:
        return
    if sandbox.owner is None or not sandbox.owner.email:
        return
    context = {
        "sandbox": sandbox,
        "clock": clock_name,
        "url": settings.SITE_URL + reverse("dashboard"),
    }
    subject = render_to_string("sandboxes/mail/warning_subject.txt", context).strip()
    body = render_to_string("sandboxes/mail/warning.txt", context)
    send_mail(subject, body, None, [sandbox.owner.email])
    journal(sandbox, "warned", f"A warning was sent to {sandbox.owner.email}.", clock=clock_name)


def send_message(event: Event) -> None:
    """Send the owner what an operator wrote into the sandbox's journal."""
    sandbox = event.sandbox
    if sandbox.owner is None or not sandbox.owner.email:
        return
    url = settings.SITE_URL + reverse("sandbox", args=[sandbox.public_id])
    context = {"sandbox": sandbox, "text": event.message, "url": url}
    body = render_to_string("sandboxes/mail/message.txt", context)
    send_mail(f"About your sandbox {sandbox}", body, None, [sandbox.owner.email])
