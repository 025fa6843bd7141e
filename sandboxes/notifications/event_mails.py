"""Wake the sender of emails when an operator's message, or an end by one, is recorded."""

from __future__ import annotations

from typing import Any

from sandboxes.core.journal import event_recorded
from sandboxes.lib import queue
from sandboxes.models import Event
from sandboxes.notifications import tasks


def connect() -> None:
    """Subscribe to the journal; called once when the app is ready."""
    event_recorded.connect(wake_sender, dispatch_uid="wake_sender")


def wake_sender(event: Event, **_: Any) -> None:
    """Send a task for the event's email, if there is one, once its transaction commits."""
    if event.mail_due_at is not None:
        queue.enqueue(tasks.send_message, event.sandbox.public_id, event.pk)
