"""Actions for operators only, called by the admin.

As in `sandboxes.actions`, the functions raise a ServiceError if a request can't be granted, and
record what they do in the journal of the sandbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from sandboxes.accounts import api_tokens
from sandboxes.core import journal, leases, lifecycle
from sandboxes.lib import queue
from sandboxes.lib.exceptions import StateConflict
from sandboxes.models import LAUNCHING_STATES, EndReason, EventKind, Sandbox, State
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@transaction.atomic
def cancel(sandbox: Sandbox, actor: User, reason: str) -> None:
    """Cancel a launch in progress. Raises StateConflict if the sandbox runs or has ended."""
    has_ended = lifecycle.begin_destroy(
        sandbox, EndReason.OPERATOR, reason, actor=actor, expected=LAUNCHING_STATES
    )
    if not has_ended:
        raise StateConflict(f"Already {sandbox.state}. Only a launch in progress can be canceled.")
    queue.enqueue(worker_tasks.tear_down, sandbox.public_id)


@transaction.atomic
def retry_removal(sandbox: Sandbox, actor: User, reason: str) -> None:
    """Retry the removal of the sandbox now. Raises StateConflict if it isn't being removed."""
    if not leases.clear_lease(sandbox, State.DESTROYING):
        raise StateConflict(f"The sandbox is {sandbox.state}; there is nothing to remove.")
    journal.record(
        sandbox, EventKind.REMOVAL_ASKED, f"Removal retry requested. {reason}", actor=actor
    )
    queue.enqueue(worker_tasks.tear_down, sandbox.public_id)


@transaction.atomic
def message_owner(sandbox: Sandbox, actor: User, text: str) -> None:
    """Email the owner a message and record it. Raises StateConflict without an owner."""
    if sandbox.owner is None:
        raise StateConflict("The sandbox has no owner to write to.")
    journal.record(sandbox, EventKind.MESSAGE, text, actor=actor)


@transaction.atomic
def suspend_user(user: User, actor: User, reason: str) -> None:
    """Block sign-in, revoke the tokens and end the sandboxes of the user. Raises StateConflict.

    The next sweep ends sandboxes that the user launches concurrently.
    """
    if user == actor:
        raise StateConflict("You can't suspend your own account. Ask another operator.")
    if not _set_active(user, active=False):
        raise StateConflict("This account is already suspended.")
    api_tokens.revoke_all(user)
    for sandbox in user.sandboxes.not_ending():
        message = f"The account was suspended. {reason}"
        lifecycle.begin_destroy(sandbox, EndReason.OPERATOR, message, actor=actor)
        queue.enqueue(worker_tasks.tear_down, sandbox.public_id)


def unsuspend_user(user: User) -> None:
    """Allow the user to sign in again. Revoked tokens stay revoked. Raises StateConflict."""
    if not _set_active(user, active=True):
        raise StateConflict("This account isn't suspended.")


def _set_active(user: User, *, active: bool) -> bool:
    changed = type(user).objects.filter(pk=user.pk, is_active=not active).update(is_active=active)
    user.is_active = active
    return changed == 1
