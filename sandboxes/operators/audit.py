"""The audit log of operators' actions."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import structlog
from django.contrib.auth import get_user_model
from django.db.models import Model

from sandboxes.lib import clock
from sandboxes.models import AuditEntry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)

MAX_SUBJECT_LENGTH = 200
MAX_REASON_LENGTH = 200


@dataclass(frozen=True)
class AuditActor:
    """An operator, and the IP address from which they act."""

    user: User
    address: str | None = None

    @property
    def name(self) -> str:
        return display_name(self.user)


@dataclass(frozen=True)
class CommandActor:
    """An operator who runs a command; `name` is their account on the portal's machine."""

    name: str
    address: None = None

    @classmethod
    def current(cls) -> Self:
        """Return the operator who runs this process."""
        try:
            account = getpass.getuser()
        except (KeyError, OSError):
            account = f"user {os.getuid()}"
        return cls(f"manage.py ({account})")


def record(
    actor: AuditActor | CommandActor,
    act: str,
    subject: Model,
    reason: str,
    changes: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Record an action. Call in its transaction, before the subject is deleted."""
    by = actor.user.pk if isinstance(actor, AuditActor) else actor.name
    log.info("operator_act", act=act, kind=model_label(subject), subject=subject.pk, by=by)
    return AuditEntry.objects.create(
        at=clock.now(),
        actor=actor.name,
        address=actor.address,
        action=act,
        model=model_label(subject),
        subject=str(getattr(subject, "public_id", "") or subject)[:MAX_SUBJECT_LENGTH],
        subject_key=str(subject.pk),
        affected_user=display_name(_affected_user(subject)),
        reason=reason,
        changes=dict(changes or {}),
    )


def model_label(subject: Model) -> str:
    return str(subject._meta.verbose_name)  # noqa: SLF001 - Django's public name for it


def display_name(user: Any) -> str:
    """Return the user's email address, or their username if they have none."""
    return (user.email or user.get_username()) if user else ""


def _affected_user(subject: Model) -> Any:
    """Return the user whom the action affects: the subject's owner, or the user itself."""
    if isinstance(subject, get_user_model()):
        return subject
    return getattr(subject, "owner", None) or getattr(subject, "user", None)
