"""A user's sandboxes, limits and warnings for the top of the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from django.db.models import prefetch_related_objects

from sandboxes import actions, blueprints
from sandboxes.core import limits
from sandboxes.core.fleet import Fleet
from sandboxes.core.portal_status import PortalStatus
from sandboxes.lib import clock
from sandboxes.lib.exceptions import QuotaExceeded
from sandboxes.models import Maintenance, Sandbox, State
from sandboxes.representations import display
from sandboxes.views.dashboard.owned_rows import OwnedRows
from sandboxes.views.dashboard.revision import dashboard_revision
from sandboxes.views.sandbox_card import BUSY_POLL_SECONDS, Card, is_transitioning, make_etag

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_RECENTLY_ENDED = 3
DASHBOARD_POLL_SECONDS = 10
RECENT_FAILURE_WINDOW = timedelta(minutes=15)
"""How long after its end a failed sandbox is shown above the live ones."""
LIVE = OwnedRows(lambda rows: actions.with_preview(rows.live().newest_first()))
RECENTLY_ENDED = OwnedRows(
    lambda rows: rows.ended().order_by("-ended_at", "-id")[:MAX_RECENTLY_ENDED]
)


@dataclass(frozen=True)
class DashboardSummary:
    """Data for the dashboard; each value is computed once."""

    user: User
    dismissed_at: str = ""
    """Sandboxes that ended before this time (RFC 3339) aren't listed."""
    known_limits: limits.Limits | None = None
    """The user's limits, if the caller has read them already."""

    @cached_property
    def live(self) -> list[Sandbox]:
        return LIVE.read(self.user)

    @cached_property
    def ended(self) -> list[Sandbox]:
        # A sandbox that ends between the two queries is shown once.
        live = {row.pk for row in self.live}
        return [row for row in RECENTLY_ENDED.read(self.user) if row.pk not in live]

    @cached_property
    def shown_ended(self) -> list[Sandbox]:
        """Recently ended sandboxes that weren't dismissed."""
        since = datetime.fromisoformat(self.dismissed_at) if self.dismissed_at else None
        return [row for row in self.ended if not since or (row.ended_at or since) > since]

    @property
    def failures(self) -> list[Sandbox]:
        """Sandboxes that failed recently, if live sandboxes push them down the page."""
        since = clock.now() - RECENT_FAILURE_WINDOW
        failed = [row for row in self.shown_ended if row.state == State.FAILED]
        return [row for row in failed if self.live and row.ended_at and row.ended_at > since]

    @cached_property
    def active(self) -> list[Sandbox]:
        return [sandbox for sandbox in self.live if sandbox.is_active]

    @cached_property
    def limits(self) -> limits.Limits:
        return self.known_limits or limits.get_limits(self.user)

    @property
    def slots(self) -> list[bool]:
        """Whether each of the user's slots is taken."""
        free = max(0, self.limits.max_active - len(self.active))
        return [True] * len(self.active) + [False] * free

    @cached_property
    def quota_error(self) -> QuotaExceeded | None:
        """The quota that prevents all launches; that of one blueprint leaves the others."""
        among = blueprints.available().values()
        return limits.quota_blocker(self.user, self.limits, self.active, self.fleet, among=among)

    @property
    def next_slot_freed_by(self) -> Sandbox | None:
        """The user's sandbox that will free a slot first, if they reached their limit."""
        name = self.quota_error and self.quota_error.frees_first
        return next((row for row in self.live if row.public_id == name), None)

    @property
    def free_slots(self) -> int:
        return self.slots.count(False)

    @cached_property
    def next_to_end(self) -> Sandbox | None:
        """The counted sandbox whose countdown ends first."""
        ends = {row: at for row in self.active if (at := display.deadline(row).at)}
        return min(ends, key=ends.__getitem__, default=None)

    @property
    def next_end(self) -> datetime | None:
        """When that is."""
        return display.deadline(self.next_to_end).at if self.next_to_end else None

    @property
    def oldest(self) -> Sandbox | None:
        """The oldest sandbox whose end frees a slot, if the user reached their own limit."""
        if not (first := self.next_slot_freed_by) or not self.quota_error:
            return None
        same = [row for row in self.active if row.blueprint == first.blueprint]
        rows = same if self.quota_error.scope == "blueprint" else self.active
        return min(rows, key=lambda row: row.created_at)

    @cached_property
    def status(self) -> PortalStatus:
        return PortalStatus.read()

    @property
    def fleet(self) -> Fleet:
        return self.status.fleet

    @property
    def maintenance(self) -> Maintenance:
        return self.status.maintenance

    @property
    def in_maintenance(self) -> bool:
        return self.maintenance.is_active

    @cached_property
    def warnings(self) -> list[Card]:
        """Cards of the sandboxes that end soon."""
        soon = [row for row in self.active if display.deadline(row).is_soon]
        prefetch_related_objects(soon, "extensions")
        return [Card(row, fleet=self.fleet) for row in soon]

    @property
    def is_first_run(self) -> bool:
        return not self.live and not self.ended

    @property
    def revision(self) -> str:
        """What polls compare first; see `dashboard_revision`."""
        return dashboard_revision(self.live, self.ended[0].pk if self.ended else None)

    @property
    def poll_seconds(self) -> int:
        """Seconds until the page asks for changes again."""
        is_busy = any(is_transitioning(sandbox) for sandbox in self.live)
        return BUSY_POLL_SECONDS if is_busy else DASHBOARD_POLL_SECONDS

    @cached_property
    def list_etag(self) -> str:
        """A hash that changes when there is a sandbox that the page doesn't show yet."""
        return make_etag(max((row.pk for row in chain(self.live, self.ended)), default=0))

    @cached_property
    def etag(self) -> str:
        first, oldest = self.next_to_end, self.oldest
        top = make_etag(
            self.slots,
            first and (first.pk, str(first), self.next_end),
            self.quota_error and (self.quota_error.scope, oldest and oldest.pk),
            [row.pk for row in self.failures],
            self.in_maintenance and (self.maintenance.until, self.maintenance.message),
            [(card.sandbox.pk, card.deadline, card.extension) for card in self.warnings],
        )
        return f"{self.list_etag}.{top}"
