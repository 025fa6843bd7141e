"""Read the credentials of a running sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast

from sandboxes import blueprints
from sandboxes.actions.locking import locked_running_sandbox
from sandboxes.core import journal
from sandboxes.encryption.fields import DecryptionError
from sandboxes.gateway import names as gateway
from sandboxes.models import (
    Event,
    EventKind,
    Sandbox,
    State,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CREDENTIALS_NOT_RUNNING = "Only a running sandbox has credentials; this one is {state}."


def read_credentials(sandbox: Sandbox, actor: User) -> dict[str, str]:
    """Return the credentials of a running sandbox and record the view. Raises StateConflict."""
    with locked_running_sandbox(sandbox, CREDENTIALS_NOT_RUNNING) as row:
        journal.record(row, EventKind.CREDENTIALS_READ, "Credentials viewed.", actor=actor)
        secrets = row.secrets
    own = blueprints.for_sandbox(row).fill_credentials(
        secrets, row.addresses, gateway.locator(row.public_id)
    )
    return own | ({"stellar_secret": secrets["STELLAR_SECRET"]} if row.stellar_public_key else {})


def with_credentials_read(rows: QuerySet[Sandbox]) -> QuerySet[Sandbox]:
    """Add to the rows, in the same query, whether their credentials were read."""
    views = Event.objects.filter(sandbox=OuterRef("pk"), kind=EventKind.CREDENTIALS_READ)
    return rows.annotate(credentials_were_read=Exists(views))


def with_preview(rows: QuerySet[Sandbox]) -> QuerySet[Sandbox]:
    """Add to the rows, in the same query, what `preview_credentials` needs.

    The secrets stay encrypted until they are needed, so that a lost key breaks no list.
    """
    return with_credentials_read(rows).annotate(sealed_secrets=Cast("secrets", TextField()))


def can_preview_credentials(sandbox: Sandbox) -> bool:
    """Return whether the credentials are still unread; False without `with_preview`."""
    return sandbox.state == State.RUNNING and not getattr(sandbox, "credentials_were_read", True)


def preview_credentials(sandbox: Sandbox) -> dict[str, str]:
    """Return the blueprint's credentials for the owner's card, without recording a view.

    Empty if they have been read, or if the blueprint, a secret or the key is missing.
    """
    blueprint = blueprints.find_for_sandbox(sandbox)
    if blueprint is None or not can_preview_credentials(sandbox):
        return {}
    try:
        secrets = Sandbox._meta.get_field("secrets").to_python(sandbox.sealed_secrets)  # type: ignore[attr-defined]  # noqa: SLF001 - Django's public API
        return blueprint.fill_credentials(
            secrets, sandbox.addresses, gateway.locator(sandbox.public_id)
        )
    except (DecryptionError, KeyError):
        return {}
