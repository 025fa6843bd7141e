"""What a person may ask of the portal. Pages, API and admin all come through here.

Every function takes the sandbox as its caller fetched it, within what the actor may see, reads it
again under a lock, and answers a `Refusal` when it is not to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from sandboxes import blueprints
from sandboxes.core import lifecycle, limits
from sandboxes.core.factory import (
    LONGEST_NAME,
    LaunchRequest,
    admit,
    offered,
)
from sandboxes.lib import clock
from sandboxes.lib.exceptions import (
    Conflict,
    Invalid,
    KeyReused,
    LimitReached,
    TooOften,
    Unavailable,
)
from sandboxes.models import (
    EndReason,
    Extension,
    Funding,
    IdempotencyKey,
    Sandbox,
    Site,
    State,
)
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.utils.functional import Promise

__all__ = [
    "LONGEST_NAME",
    "LaunchRequest",
    "credentials",
    "destroy",
    "extend",
    "extension_preview",
    "launch",
    "offered",
    "refusal_to_launch",
    "reset",
    "retry_funding",
    "touch",
]

KEY_KEPT = timedelta(hours=24)
LONGEST_KEY = 255
SHORTAGE_RETRY = timedelta(minutes=5)
TO_EXTEND = gettext_lazy("Only a running sandbox can be extended; this one is %(state)s.")
TO_KEEP = gettext_lazy("Only a running sandbox can be kept alive; this one is %(state)s.")
TO_RESET = gettext_lazy("Only a running sandbox can be reset; this one is %(state)s.")
TO_READ = gettext_lazy("Only a running sandbox has credentials; this one is %(state)s.")


def launch(user: User, request: LaunchRequest, idempotency_key: str = "") -> tuple[Sandbox, bool]:
    """A new sandbox, or with a key that was used before the one it launched; whether it is new.

    Raises Invalid, KeyReused, LimitReached, TooOften, Unavailable.
    """
    if len(idempotency_key) > LONGEST_KEY:
        raise Invalid(
            "Idempotency-Key", _("Use at most %(most)s characters.") % {"most": LONGEST_KEY}
        )
    with transaction.atomic():
        site = Site.locked()
        if idempotency_key and (earlier := _answered(user, idempotency_key, request)):
            return earlier, False
        if closed := _maintenance(site) or _shortage(site) or limits.pause_for(user):
            raise closed
        sandbox = admit(user, request)
        if idempotency_key:
            IdempotencyKey.objects.create(
                owner=user,
                key=idempotency_key,
                fingerprint=request.fingerprint,
                sandbox=sandbox,
                created_at=clock.now(),
            )
        if sandbox.state == State.RUNNING:
            worker_tasks.enqueue(worker_tasks.look_after, sandbox.public_id)
            worker_tasks.enqueue(worker_tasks.tend_pool)
        else:
            worker_tasks.enqueue(worker_tasks.provision, sandbox.public_id)
            worker_tasks.enqueue(worker_tasks.fund, sandbox.public_id)
    return sandbox, True


def _answered(user: User, key: str, request: LaunchRequest) -> Sandbox | None:
    known = IdempotencyKey.objects.select_related("sandbox").filter(owner=user, key=key).first()
    if known is None:
        return None
    if known.created_at < clock.now() - KEY_KEPT:
        known.delete()
        return None
    if known.fingerprint != request.fingerprint:
        raise KeyReused(_("This Idempotency-Key was used for another request; use a new key."))
    return known.sandbox


def _maintenance(site: Site) -> Unavailable | None:
    if site.drained_until is None or site.drained_until <= clock.now():
        return None
    text = site.drain_message or _("The portal is under maintenance.")
    time = timeuntil(site.drained_until, clock.now())
    over = _("It should be over in %(time)s.") % {"time": time}
    return Unavailable(f"{text} {over}", site.drained_until)


def _shortage(site: Site) -> Unavailable | None:
    lacking = limits.shortage(site)
    return Unavailable(lacking, clock.now() + SHORTAGE_RETRY) if lacking else None


def refusal_to_launch(user: User) -> Unavailable | LimitReached | TooOften | None:
    """Why the user could not launch a sandbox now; None when they could."""
    site = Site.current()
    closed = _maintenance(site) or _shortage(site)
    return closed or limits.refusal_for(user) or limits.pause_for(user)


@contextmanager
def _running(sandbox: Sandbox, refusal: str | Promise) -> Iterator[Sandbox]:
    """The sandbox as it is now, locked. Unless it runs, raises Conflict with that sentence."""
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        if row.state != State.RUNNING:
            raise Conflict(str(refusal) % {"state": row.state})
        yield row


def extension_preview(sandbox: Sandbox, minutes: int) -> timedelta:
    """What an extension by so many minutes would really give: never past the hard cap."""
    assert sandbox.expires_at and sandbox.hard_cap_at
    after = min(sandbox.expires_at + timedelta(minutes=minutes), sandbox.hard_cap_at)
    return max(after, sandbox.expires_at) - sandbox.expires_at


def extend(sandbox: Sandbox, minutes: int, actor: User, reason: str = "") -> Extension:
    """Give the sandbox more time. Its owner can once; operators again. Restarts the idle clock.

    Raises Invalid, Conflict.
    """
    most = limits.limits_of(actor).extension_max_minutes
    if not 1 <= minutes <= most:
        raise Invalid("minutes", _("Extend by 1 to %(most)s minutes.") % {"most": most})
    with _running(sandbox, TO_EXTEND) as row:
        by_operator = actor.pk != row.owner_id
        if not by_operator and row.extensions.filter(by_operator=False).exists():
            raise Conflict(_("This sandbox was extended already; each can be extended once."))
        given = extension_preview(row, minutes)
        if given < timedelta(minutes=1):
            raise Conflict(_("This sandbox has reached the longest lifetime that is allowed."))
        assert row.expires_at
        extension = Extension.objects.create(
            sandbox=row,
            minutes=given // timedelta(minutes=1),
            by_operator=by_operator,
            granted_by=actor,
            expires_before=row.expires_at,
            expires_after=row.expires_at + given,
            created_at=clock.now(),
        )
        _note_activity(row, expires_at=extension.expires_after)
        message = f"Extended by {extension.minutes} minutes."
        lifecycle.journal(row, "extended", f"{message} {reason}".strip(), actor=actor)
    sandbox.refresh_from_db()
    return extension


def _note_activity(row: Sandbox, **values: object) -> None:
    last = clock.not_before(row.last_activity_at)
    Sandbox.objects.filter(pk=row.pk).update(last_activity_at=last, **values)


def touch(sandbox: Sandbox, actor: User) -> None:
    """Start the idle clock again. Raises Conflict."""
    with _running(sandbox, TO_KEEP) as row:
        _note_activity(row)
        lifecycle.journal(row, "touched", "The idle clock was started again.", actor=actor)
    sandbox.refresh_from_db()


def reset(sandbox: Sandbox, actor: User) -> None:
    """Have the seed data put back; asking again meanwhile is one request. Raises Conflict."""
    with _running(sandbox, TO_RESET) as row:
        if row.reset_requested_at is None:
            _note_activity(row, reset_requested_at=clock.now())
            lifecycle.journal(row, "reset_requested", "A reset was asked for.", actor=actor)
        worker_tasks.enqueue(worker_tasks.reset, row.public_id)
    sandbox.refresh_from_db()


def destroy(sandbox: Sandbox, actor: User, reason: str = "") -> None:
    """End the sandbox; asking again is no error."""
    own = actor.pk == sandbox.owner_id
    why = EndReason.USER if own else EndReason.OPERATOR
    with override("en"):  # As all of the journal.
        message = reason or f"It was {why.label}."
    with transaction.atomic():
        lifecycle.end(sandbox, why, message, actor=actor)
        worker_tasks.enqueue(worker_tasks.tear_down, sandbox.public_id)
    sandbox.refresh_from_db()


def retry_funding(sandbox: Sandbox, actor: User) -> None:
    """Ask friendbot again, now. Raises Conflict when there is nothing to ask for."""
    with transaction.atomic():
        asked = (
            Sandbox.objects.active()
            .filter(pk=sandbox.pk)
            .exclude(funding=Funding.FUNDED)
            .update(funding=Funding.PENDING, funding_due_at=clock.now(), funding_attempts=0)
        )
        if not asked:
            raise Conflict(_("The Stellar account is funded already, or the sandbox has ended."))
        lifecycle.journal(sandbox, "funding_asked", "Friendbot is asked again.", actor=actor)
        worker_tasks.enqueue(worker_tasks.fund, sandbox.public_id)
    sandbox.refresh_from_db()


def credentials(sandbox: Sandbox, actor: User) -> dict[str, str]:
    """The sandbox's own keys; every look is journalled. Raises Conflict unless it is running."""
    with _running(sandbox, TO_READ) as row:
        lifecycle.journal(row, "credentials_read", "The credentials were read.", actor=actor)
        secrets = row.secrets
    own = blueprints.load(row.blueprint).fill_credentials(secrets, row.addresses)
    return own | {"stellar_secret": secrets["STELLAR_SECRET"]}
