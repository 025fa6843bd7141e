"""The one place where it is written down what an operator did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from django.contrib.auth import get_user_model
from django.db.models import Model

from sandboxes.lib import clock
from sandboxes.models import AuditEntry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = structlog.get_logger(__name__)

LONGEST_SUBJECT = 200


@dataclass(frozen=True)
class Operator:
    """Who acts, and from which address."""

    user: User
    address: str | None = None


def note(
    by: Operator,
    act: str,
    subject: Model,
    reason: str,
    changes: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Keep it for good; call it in the transaction of the act, before the subject is gone."""
    log.info("operator_act", act=act, kind=kind_of(subject), subject=subject.pk, by=by.user.pk)
    return AuditEntry.objects.create(
        at=clock.now(),
        by=called(by.user),
        address=by.address,
        act=act,
        kind=kind_of(subject),
        subject=str(getattr(subject, "public_id", "") or subject)[:LONGEST_SUBJECT],
        subject_key=str(subject.pk),
        concerns=called(_person(subject)),
        reason=reason,
        changes=dict(changes or {}),
    )


def kind_of(subject: Model) -> str:
    return str(subject._meta.verbose_name)  # noqa: SLF001 - Django's public name for it


def called(person: Any) -> str:
    """The e-mail address of an account, or its name where it has none."""
    return (person.email or person.get_username()) if person else ""


def _person(subject: Model) -> Any:
    """Whose the subject is; of a sandbox its owner, of an account itself."""
    if isinstance(subject, get_user_model()):
        return subject
    return getattr(subject, "owner", None) or getattr(subject, "user", None)
