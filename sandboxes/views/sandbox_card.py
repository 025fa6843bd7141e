"""What one card shows, worked out once for its template."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sandboxes import blueprints
from sandboxes.core.launch_eta import EtaCalculator, LaunchEta
from sandboxes.lib import clock
from sandboxes.models import Sandbox, Site, State
from sandboxes.models.runtime_settings import config
from sandboxes.representations import display

EXTENSION_CHOICES = (30, 60, 120)
BUSY_POLL_SECONDS = 1
IDLE_POLL_SECONDS = 15


@dataclass(frozen=True)
class ExtensionOption:
    """An extension that can be had: by so many minutes, and when the sandbox would end then."""

    minutes: int
    until: datetime
    capped: bool


def make_etag(*parts: object) -> str:
    """A short text that changes with what is shown, so that a poll can ask for news only."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Card:
    """One sandbox on a page. `refusal` is what came of the last click, `told` what was done."""

    sandbox: Sandbox
    error_message: str = ""
    success_message: str = ""
    site: Site | None = None
    """Read when it is needed, unless it is at hand: most polls end before that."""
    is_page: bool = False
    """It stands alone on the sandbox's own page, which tells all of it."""
    estimator: EtaCalculator = field(default_factory=EtaCalculator, compare=False)

    @property
    def is_provisioning(self) -> bool:
        return self.sandbox.state in (State.PENDING, State.PROVISIONING)

    @property
    def is_running(self) -> bool:
        return self.sandbox.state == State.RUNNING

    @property
    def is_resetting(self) -> bool:
        return self.sandbox.reset_requested_at is not None

    @property
    def has_explorer(self) -> bool:
        """Whether its API describes itself, so that the portal's explorer can show it."""
        made = blueprints.available().get(self.sandbox.blueprint)
        return bool(made and made.openapi_endpoint)

    @cached_property
    def hard_disk_limit(self) -> bool | None:
        return (self.site or Site.current()).hard_disk_limit

    @cached_property
    def endpoints(self) -> dict[str, str | None]:
        return display.endpoints(self.sandbox)

    @cached_property
    def extension(self) -> display.ExtensionQuote:
        return display.extension_quote(self.sandbox)

    @cached_property
    def deadline(self) -> display.Deadline:
        return display.deadline(self.sandbox)

    @cached_property
    def estimate(self) -> LaunchEta | None:
        return self.estimator.estimate(self.sandbox)

    @cached_property
    def steps(self) -> list[display.Step]:
        return display.steps(self.sandbox, self.estimate)

    @property
    def failed_step(self) -> display.Step | None:
        return display.failed_step(self.sandbox)

    @property
    def advice(self) -> str | None:
        return display.advice(self.sandbox)

    @property
    def last_logs(self) -> str:
        return display.final_logs(self.sandbox)

    @property
    def duration(self) -> timedelta | None:
        """How long it ran, of one that has ended."""
        began, ended = self.sandbox.started_at, self.sandbox.ended_at
        return ended - began if began and ended else None

    @cached_property
    def extension_options(self) -> list[ExtensionOption]:
        """The usual choices, each shown with what it would really give."""
        most = self.extension.max_minutes
        if not most:
            return []
        choices = [minutes for minutes in EXTENSION_CHOICES if minutes < most]
        options = [
            ExtensionOption(minutes, self._until(minutes), capped=False) for minutes in choices
        ]
        capped = most < config.SANDBOX_EXTENSION_MAX_MINUTES
        return [*options, ExtensionOption(most, self._until(most), capped)]

    def _until(self, minutes: int) -> datetime:
        assert self.sandbox.expires_at
        return self.sandbox.expires_at + timedelta(minutes=minutes)

    @property
    def seconds_left(self) -> int:
        """To the end that is nearest."""
        assert self.deadline.at
        return max(0, int((self.deadline.at - clock.now()).total_seconds()))

    @property
    def total_seconds(self) -> int:
        """How long the clock that ends it had to run when it was started."""
        assert self.deadline.at and self.sandbox.started_at
        if self.deadline.reason == "idle":
            return self.sandbox.idle_minutes * 60
        return int((self.deadline.at - self.sandbox.started_at).total_seconds())

    @property
    def is_transitioning(self) -> bool:
        """Whether something about it is under way, so that news are due any moment."""
        return self.is_provisioning or self.is_resetting or self.sandbox.state == State.DESTROYING

    @property
    def poll_seconds(self) -> int:
        return BUSY_POLL_SECONDS if self.is_transitioning else IDLE_POLL_SECONDS

    @cached_property
    def layout_hash(self) -> str:
        """Changes when the whole card must be drawn anew, and not just what is live in it."""
        state = "provisioning" if self.is_provisioning else self.sandbox.state
        return make_etag(state, self.is_resetting, self.extension, self.endpoints)

    @cached_property
    def etag(self) -> str:
        """What a poll sends back: the same again means that nothing on the card has changed."""
        row, late = self.sandbox, self.estimate and self.estimate.overdue
        live = make_etag(row.state, self.deadline, self.steps, late, row.funding, row.removal_error)
        return f"{self.layout_hash}.{live}"


def cards(
    sandboxes: Iterable[Sandbox], notices: Iterable[Any] = (), site: Site | None = None
) -> list[Card]:
    """A card for each, with the messages that a redirect left for it."""
    by_id: dict[str, dict[str, Any]] = {}
    for notice in notices:
        kind = "error_message" if notice.level_tag == "error" else "success_message"
        by_id.setdefault(notice.extra_tags, {})[kind] = str(notice)
    shared: dict[str, Any] = {"site": site or Site.current(), "estimator": EtaCalculator()}
    return [Card(row, **shared, **by_id.get(row.public_id, {})) for row in sandboxes]
