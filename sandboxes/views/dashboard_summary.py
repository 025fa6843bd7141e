"""What the top of the dashboard says about one user, worked out once for its templates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from django.db.models import prefetch_related_objects

from sandboxes.core import limits
from sandboxes.lib import clock
from sandboxes.lib.exceptions import QuotaExceeded
from sandboxes.models import Sandbox, Site, State
from sandboxes.representations import display
from sandboxes.views.sandbox_card import Card, digest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RECENTLY_ENDED = 3
NEWS = timedelta(minutes=15)
"""For so long a failure is something that its owner may not know yet."""


@dataclass(frozen=True)
class Overview:
    """All that is asked for once while a dashboard is drawn."""

    user: User
    cleared: str = ""
    """What had ended by then is not listed."""

    @cached_property
    def live(self) -> list[Sandbox]:
        return list(self.user.sandboxes.live().newest_first())

    @cached_property
    def ended(self) -> list[Sandbox]:
        rows = self.user.sandboxes.ended().order_by("-ended_at", "-id")
        return list(rows[:RECENTLY_ENDED])

    @cached_property
    def shown(self) -> list[Sandbox]:
        """Those of the recently ended that were not cleared away."""
        since = datetime.fromisoformat(self.cleared) if self.cleared else None
        return [row for row in self.ended if not since or (row.ended_at or since) > since]

    @property
    def failures(self) -> list[Sandbox]:
        """What failed just now, where live sandboxes stand between it and the reader."""
        news = clock.now() - NEWS
        failed = [row for row in self.shown if row.state == State.FAILED]
        return [row for row in failed if self.live and row.ended_at and row.ended_at > news]

    @cached_property
    def active(self) -> list[Sandbox]:
        return [sandbox for sandbox in self.live if sandbox.is_active]

    @cached_property
    def limits(self) -> limits.Limits:
        return limits.get_limits(self.user)

    @property
    def places(self) -> list[bool]:
        """One for each place that the user has: whether it is taken."""
        free = max(0, self.limits.max_active - len(self.active))
        return [True] * len(self.active) + [False] * free

    @cached_property
    def full(self) -> QuotaExceeded | None:
        return limits.quota_blocker(self.user, self.limits, self.active)

    @property
    def frees_first(self) -> Sandbox | None:
        """The sandbox of the user's own that ends first, when the limit is reached."""
        name = self.full and self.full.frees_first
        return next((row for row in self.live if row.public_id == name), None)

    @property
    def free(self) -> int:
        return self.places.count(False)

    @cached_property
    def ends_first(self) -> Sandbox | None:
        """Of those with a place, the one whose end is nearest."""
        ending = [row for row in self.active if row.ends_at]
        return min(ending, key=lambda row: row.ends_at or clock.now(), default=None)

    @property
    def oldest(self) -> Sandbox | None:
        """What has had its place for the longest, where the limit reached is the user's own."""
        return min(self.active, key=lambda row: row.created_at) if self.frees_first else None

    @cached_property
    def site(self) -> Site:
        return Site.current()

    @property
    def drained(self) -> bool:
        until = self.site.drained_until
        return until is not None and until > clock.now()

    @cached_property
    def warnings(self) -> list[Card]:
        """The sandboxes that end soon."""
        soon = [row for row in self.active if display.deadline(row).is_soon]
        prefetch_related_objects(soon, "extensions")
        return [Card(row, site=self.site) for row in soon]

    @property
    def is_first_run(self) -> bool:
        return not self.live and not self.ended

    @cached_property
    def listed(self) -> str:
        """Changes when a sandbox appears that the page does not show yet."""
        return digest(max((row.pk for row in chain(self.live, self.ended)), default=0))

    @cached_property
    def seen(self) -> str:
        first, oldest = self.ends_first, self.oldest
        top = digest(
            self.places,
            first and (first.pk, str(first), first.ends_at),
            self.full and (self.full.scope, oldest and oldest.pk),
            [row.pk for row in self.failures],
            self.drained and (self.site.drained_until, self.site.drain_message),
            [(card.sandbox.pk, card.deadline, card.extension) for card in self.warnings],
        )
        return f"{self.listed}.{top}"
