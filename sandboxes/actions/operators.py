"""What only operators may ask of the portal; the admin comes through here.

As in `sandboxes.actions`, what is not to be is answered with a ServiceError, and the journal of a
sandbox says what was done to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from sandboxes import queue
from sandboxes.core import journal as core_journal
from sandboxes.core import leases, lifecycle
from sandboxes.lib import clock
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import ApiToken, EndReason, Sandbox, State
from sandboxes.notifications import tasks as notification_tasks
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LAUNCHING_STATES = (State.PENDING, State.PROVISIONING)


@transaction.atomic
def cancel(sandbox: Sandbox, actor: User, reason: str) -> None:
    """End a launch that is not done yet. Raises StateConflict when it is, or has ended."""
    ended = lifecycle.begin_destroy(
        sandbox, EndReason.OPERATOR, reason, actor=actor, expected=LAUNCHING_STATES
    )
    if not ended:
        raise StateConflict(f"It is {sandbox.state} already; only a launch can be cancelled.")
    queue.enqueue(worker_tasks.tear_down, sandbox.public_id)


@transaction.atomic
def retry_removal(sandbox: Sandbox, actor: User, reason: str) -> None:
    """Have its removal tried again now instead of later. Raises StateConflict."""
    if not leases.clear_lease(sandbox, State.DESTROYING):
        raise StateConflict(f"It is {sandbox.state}; there is nothing to remove.")
    core_journal.record(sandbox, "removal_asked", f"It is removed again. {reason}", actor=actor)
    queue.enqueue(worker_tasks.tear_down, sandbox.public_id)


@transaction.atomic
def message_owner(sandbox: Sandbox, actor: User, text: str) -> None:
    """Write to its owner: in its journal, and by mail. Raises StateConflict."""
    if sandbox.owner is None:
        raise StateConflict("It has no owner to write to.")
    event = core_journal.record(sandbox, "message", text, actor=actor)
    queue.enqueue(notification_tasks.send_message, sandbox.public_id, event.pk)


@transaction.atomic
def suspend_user(user: User, actor: User, reason: str) -> None:
    """Sign-in is refused, tokens are revoked, sandboxes end. Raises StateConflict.

    What the account launches at this very moment is ended by the next sweep.
    """
    if user == actor:
        raise StateConflict("It is your own account; somebody else has to do that.")
    if not _set_active(user, active=False):
        raise StateConflict("It is suspended already; nothing was done.")
    ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=clock.now())
    for sandbox in user.sandboxes.not_ending():
        words = f"The account was suspended. {reason}"
        lifecycle.begin_destroy(sandbox, EndReason.OPERATOR, words, actor=actor)
        queue.enqueue(worker_tasks.tear_down, sandbox.public_id)


def unsuspend_user(user: User) -> None:
    """The account may be used again; tokens have to be made anew. Raises StateConflict."""
    if not _set_active(user, active=True):
        raise StateConflict("It is not suspended; nothing was done.")


def _set_active(user: User, *, active: bool) -> bool:
    changed = type(user).objects.filter(pk=user.pk, is_active=not active).update(is_active=active)
    user.is_active = active
    return changed == 1
