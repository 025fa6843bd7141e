"""Whether a request for a sandbox is granted, and the row that it becomes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from sandboxes import blueprints
from sandboxes.core import lifecycle, limits
from sandboxes.lib import clock
from sandboxes.lib.exceptions import Invalid, Unavailable
from sandboxes.models import Pool, Sandbox
from sandboxes.models.runtime_settings import settings
from sandboxes.pool import policy
from sandboxes.worker import funding

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LONGEST_NAME = 60


@dataclass(frozen=True)
class LaunchRequest:
    """What may be chosen about a new sandbox; None stands for the default."""

    blueprint: str | None = None
    ttl_minutes: int | None = None
    name: str = ""

    @property
    def fingerprint(self) -> str:
        parts = [self.blueprint, self.ttl_minutes, self.name]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def admit(user: User, request: LaunchRequest) -> Sandbox:
    """The sandbox that the request is granted: one of the pool, or a new row that is `pending`.

    Call it inside the launching transaction. Raises Invalid, LimitReached, Unavailable.
    """
    blueprint = _blueprint(request)
    mine = limits.limits_of(user)
    chosen: dict[str, Any] = {
        "owner": user,
        "ttl_minutes": _ttl(request, mine),
        "idle_minutes": mine.idle_minutes,
        "name": _name(request),
        "slot": limits.take_place(user),
    }
    return policy.claim(blueprint, chosen) or lifecycle.admit(row(blueprint, **chosen), user)


def row(blueprint: blueprints.Blueprint, **chosen: Any) -> Sandbox:
    """A new sandbox of the blueprint, not saved yet, with secrets of its own."""
    public_key, secret = funding.new_key_pair()
    defaults = {
        "ttl_minutes": settings.SANDBOX_TTL_MINUTES,
        "idle_minutes": settings.SANDBOX_IDLE_MINUTES,
    }
    return Sandbox(
        blueprint=blueprint.name,
        created_at=clock.now(),
        memory_mb=blueprint.memory_mb,
        cpus=blueprint.cpus,
        disk_mb=settings.SANDBOX_DISK_MB,
        secrets=blueprint.new_secrets() | {"STELLAR_SECRET": secret},
        stellar_public_key=public_key,
        funding_due_at=clock.now(),
        **defaults | chosen,
    )


def offered() -> dict[str, blueprints.Blueprint]:
    """The blueprints that run here, without those that operators have switched off."""
    off = set(Pool.objects.filter(switched_off=True).values_list("blueprint", flat=True))
    return {
        name: one
        for name, one in blueprints.available().items()
        if name not in off and one.supports_runtime(settings.SANDBOX_RUNTIME)
    }


def _blueprint(request: LaunchRequest) -> blueprints.Blueprint:
    known = blueprints.available()
    name = request.blueprint or settings.SANDBOX_DEFAULT_BLUEPRINT
    if name not in known:
        words = _("There is no blueprint “%(name)s”; take %(known)s.")
        raise Invalid("blueprint", words % {"name": name, "known": ", ".join(known)})
    if not known[name].supports_runtime(settings.SANDBOX_RUNTIME):
        why = _("It does not say how it runs without an engine, so it can't be launched here.")
        raise Invalid("blueprint", why)
    if Pool.objects.filter(blueprint=name, switched_off=True).exists():
        words = _("An operator has switched off “%(title)s” for now.")
        raise Unavailable(words % {"title": known[name].title})
    return known[name]


def _ttl(request: LaunchRequest, mine: limits.Limits) -> int:
    if request.ttl_minutes is None:
        return mine.ttl_minutes
    low, high = mine.ttl_min_minutes, mine.ttl_max_minutes
    if not low <= request.ttl_minutes <= high:
        words = _("Choose a lifetime from %(low)s to %(high)s minutes.")
        raise Invalid("ttl_minutes", words % {"low": low, "high": high})
    return request.ttl_minutes


def _name(request: LaunchRequest) -> str:
    name = request.name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        words = _("Use at most %(most)s printable characters.")
        raise Invalid("name", words % {"most": LONGEST_NAME})
    return name
