"""Find out cheaply whether an open dashboard may have changed.

Most polls find nothing new. Their cost decides how many open dashboards a machine can serve, so
they compare a hash of a few columns before anything is computed for display.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from sandboxes import actions
from sandboxes.core import capacity, reaper_policy
from sandboxes.core.portal_status import PortalStatus
from sandboxes.lib import clock
from sandboxes.models import LAUNCHING_STATES, LimitOverride, Pool, Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.views.dashboard.owned_rows import OwnedRows
from sandboxes.views.sandbox_card import make_etag

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COLUMNS = (
    "owner_id",
    "public_id",
    "name",
    "state",
    "ttl_minutes",
    "idle_minutes",
    "metadata",
    "expires_at",
    "hard_cap_at",
    "last_activity_at",
    "addresses",
    "problem",
    "repair_after",
    "reset_requested_at",
    "reset_to_id",
    "funding",
    "removal_error",
)
"""The columns of a running sandbox that its card depends on."""
LIVE = OwnedRows(
    lambda rows: actions.with_credentials_read(rows.live().newest_first().only(*COLUMNS))
)
COMPLETE_EVERY_SECONDS = 60
"""How often a poll is answered in full, for what changes with time only."""


def current_revision(user: User) -> str:
    """Return the revision of what the user's dashboard would show now."""
    ended = user.sandboxes.ended().order_by("-ended_at", "-pk").values_list("pk", flat=True)
    return dashboard_revision(LIVE.read(user), ended.first())


def dashboard_revision(live: Sequence[Sandbox], newest_ended: int | None) -> str:
    """Return a hash that changes when the dashboard may have; empty if it changes on its own."""
    if any(row.state in (*LAUNCHING_STATES, State.DESTROYING) for row in live):
        return ""
    minute = int(clock.now().timestamp()) // COMPLETE_EVERY_SECONDS
    cards = [_shown(row) for row in live]
    return make_etag(cards, newest_ended, _portal_revision(config.reads), minute)


def _shown(row: Sandbox) -> list[object]:
    columns = [row.__dict__[name] for name in COLUMNS]
    return [*columns, actions.can_preview_credentials(row), _is_soon(row)]


def _is_soon(row: Sandbox) -> bool:
    return row.ends_at is not None and (
        row.ends_at - clock.now() <= reaper_policy.warning_lead(row)
    )


@lru_cache(maxsize=1)
def _portal_revision(_reads: int) -> str:
    """Return a hash of what all dashboards depend on; read as often as the runtime settings."""
    status = PortalStatus.read()
    overrides = LimitOverride.objects.in_force(clock.now()).order_by("pk").values_list()
    free = capacity.free_capacity(status.fleet)
    return make_etag(
        (status.maintenance.until, status.maintenance.message, status.maintenance.is_active),
        [(engine.name, engine.disk_quota_enforced) for engine in status.fleet.engines],
        free.for_sandboxes(config.SANDBOX_MEMORY_MB) > 0,
        list(overrides),
        list(Pool.objects.order_by("pk").values_list("blueprint", "switched_off")),
        config.values,
    )
