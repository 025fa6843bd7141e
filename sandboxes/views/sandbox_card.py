"""Data for a sandbox's card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any

from sandboxes import actions, blueprints
from sandboxes.core.fleet import Fleet
from sandboxes.core.launch_eta import EtaCalculator, LaunchEta
from sandboxes.explorer.request_log import has_request_log
from sandboxes.gateway import names
from sandboxes.lib import clock
from sandboxes.models import LAUNCHING_STATES, Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.representations import display

EXTENSION_CHOICES = (30, 60, 120)
BUSY_POLL_SECONDS = 1
IDLE_POLL_SECONDS = 15


@dataclass(frozen=True)
class ExtensionOption:
    """An extension to choose: its minutes and the sandbox's new expiry."""

    minutes: int
    until: datetime
    capped: bool


def make_etag(*parts: object) -> str:
    """Return a short hash of what is shown, so that polls only fetch changes."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def is_transitioning(sandbox: Sandbox) -> bool:
    """Return whether an operation is in progress, so that the page polls often."""
    is_starting_or_ending = sandbox.state in (*LAUNCHING_STATES, State.DESTROYING)
    return is_starting_or_ending or sandbox.reset_requested_at is not None


@dataclass(frozen=True)
class Card:
    """A sandbox's card, with the error or success message of the last action."""

    sandbox: Sandbox
    error_message: str = ""
    success_message: str = ""
    fleet: Fleet | None = None
    """Loaded on demand if not given; most polls don't need it."""
    is_page: bool = False
    """Whether the card is on the sandbox's own page."""
    is_newest: bool = True
    """Whether it is the first card of the dashboard; the others are compact."""
    estimator: EtaCalculator = field(default_factory=EtaCalculator, compare=False)

    def with_message(self, result: display.ResetResult) -> Card:
        """Return the card with the result of a reset in addition to its messages."""
        if result.succeeded:
            return replace(self, success_message=_join(self.success_message, result.message))
        return replace(self, error_message=_join(self.error_message, result.message))

    @property
    def is_provisioning(self) -> bool:
        return self.sandbox.state in LAUNCHING_STATES

    @property
    def is_running(self) -> bool:
        return self.sandbox.state == State.RUNNING

    @property
    def is_compact(self) -> bool:
        return not (self.is_page or self.is_newest)

    @cached_property
    def is_new(self) -> bool:
        """Whether to open with the command for a first call: until its credentials are read."""
        return not self.is_compact and actions.can_preview_credentials(self.sandbox)

    @property
    def is_resetting(self) -> bool:
        return self.sandbox.reset_requested_at is not None

    @property
    def is_restoring(self) -> bool:
        return self.is_resetting and self.sandbox.reset_to_id is not None

    @property
    def has_explorer(self) -> bool:
        """Whether the API has an OpenAPI document for the explorer."""
        blueprint = blueprints.find_for_sandbox(self.sandbox)
        return bool(blueprint and blueprint.openapi_endpoint)

    @property
    def has_inbox(self) -> bool:
        """Whether the sandbox offers events."""
        blueprint = blueprints.find_for_sandbox(self.sandbox)
        return bool(blueprint and blueprint.events)

    @property
    def has_request_log(self) -> bool:
        """Whether the sandbox lists the requests to its API."""
        return has_request_log(self.sandbox)

    @cached_property
    def hard_disk_limit(self) -> bool | None:
        return (self.fleet or Fleet.read()).engine_of(self.sandbox).disk_quota_enforced

    @cached_property
    def endpoints(self) -> dict[str, str | None]:
        return display.endpoints(self.sandbox)

    @property
    def shown_endpoints(self) -> dict[str, str | None]:
        """All endpoints; on a compact card, only the first."""
        return dict(islice(self.endpoints.items(), 1 if self.is_compact else None))

    @property
    def is_owner_only(self) -> bool:
        """Whether the gateway admits only the owner to its HTTP endpoints."""
        blueprint = blueprints.find_for_sandbox(self.sandbox)
        return bool(blueprint and names.is_owner_only(blueprint))

    @cached_property
    def parameters(self) -> list[tuple[str, str]]:
        """Titles and values of the parameters that the sandbox was launched with."""
        return display.parameters(self.sandbox)

    @cached_property
    def unusual_parameters(self) -> list[tuple[str, str]]:
        """Those of them that aren't the blueprint's defaults."""
        return display.parameters(self.sandbox, with_defaults=False)

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

    @cached_property
    def failed_step(self) -> display.Step | None:
        return display.failed_step(self.sandbox)

    @property
    def problem(self) -> str | None:
        return display.problem(self.sandbox)

    @property
    def advice(self) -> str | None:
        return display.advice(self.sandbox)

    @property
    def operator_reason(self) -> str | None:
        return display.operator_reason(self.sandbox)

    @property
    def last_logs(self) -> str:
        return display.final_logs(self.sandbox)

    @property
    def duration(self) -> timedelta | None:
        """How long an ended sandbox ran."""
        began, ended = self.sandbox.started_at, self.sandbox.ended_at
        return ended - began if began and ended else None

    @cached_property
    def extension_options(self) -> list[ExtensionOption]:
        """The extensions to choose from, capped by the maximum lifetime."""
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
        """Seconds until the end to count down to."""
        assert self.deadline.at
        return max(0, int((self.deadline.at - clock.now()).total_seconds()))

    @property
    def total_seconds(self) -> int:
        """Seconds from the start of the current deadline to its end."""
        assert self.deadline.at and self.sandbox.started_at
        if self.deadline.reason == "idle":
            return self.sandbox.idle_minutes * 60
        return int((self.deadline.at - self.sandbox.started_at).total_seconds())

    @property
    def is_transitioning(self) -> bool:
        return is_transitioning(self.sandbox)

    @property
    def poll_seconds(self) -> int:
        return BUSY_POLL_SECONDS if self.is_transitioning else IDLE_POLL_SECONDS

    @cached_property
    def layout_hash(self) -> str:
        """A hash that changes if the whole card must be rendered again."""
        state = "provisioning" if self.is_provisioning else self.sandbox.state
        parts = (
            self.is_resetting,
            self.extension,
            self.endpoints,
            self.is_compact,
            self.is_new,
            self.sandbox.is_replaceable,
        )
        return make_etag(state, *parts)

    @cached_property
    def etag(self) -> str:
        """The hash that polls send back; it is unchanged if nothing on the card has changed."""
        row, late = self.sandbox, self.estimate and self.estimate.overdue
        shown = (row.state, self.deadline, self.steps, late, row.funding, row.removal_error)
        live = make_etag(*shown, self.problem)
        return f"{self.layout_hash}.{live}"


def _join(*texts: str) -> str:
    return " ".join(filter(None, texts))


def cards(
    sandboxes: Iterable[Sandbox], notices: Iterable[Any] = (), fleet: Fleet | None = None
) -> list[Card]:
    """Return a card for each sandbox, with the messages stored before a redirect."""
    by_id: dict[str, dict[str, Any]] = {}
    for notice in notices:
        kind = "error_message" if notice.level_tag == "error" else "success_message"
        by_id.setdefault(notice.extra_tags, {})[kind] = str(notice)
    shared: dict[str, Any] = {
        "fleet": fleet or Fleet.read(),
        "estimator": EtaCalculator(),
    }
    return [
        Card(row, **shared, **by_id.get(row.public_id, {}), is_newest=number == 0)
        for number, row in enumerate(sandboxes)
    ]
