"""Texts about a sandbox that the card, the API, webhooks and the admin share.

The functions read a row that is already loaded; `Sandbox.extensions` may be prefetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.text import capfirst

from sandboxes import blueprints
from sandboxes.core import limits
from sandboxes.core.launch_eta import LaunchEta
from sandboxes.core.reaper_policy import NOT_READY_REMEDY
from sandboxes.lib import clock
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.models.runtime_settings import config

STEP_LABELS = {
    "network": "Create network",
    "containers": "Start containers",
    "ready": "Wait until ready",
}
"""Labels of the steps that a runtime reports, in this order."""
TRIAL_MODE = "Trial mode: no isolation between sandboxes."
ADVICE: dict[str, str] = {
    EndReason.PROVISION_FAILED: (
        "Launch again. If the same step fails again, send the logs to your administrator."
    ),
    EndReason.CRASHED: "Check the last log lines, then launch a new sandbox.",
    EndReason.OUT_OF_MEMORY: (
        "Launch a new sandbox, and use pagination and smaller batches to save memory."
    ),
    EndReason.DISK_FULL: "Launch a new sandbox, and write less data to it.",
    EndReason.LOST: "This wasn't caused by you. Launch again.",
    EndReason.IDLE: (
        "Requests to the sandbox keep it running, and so does “Keep alive”. Launch again to go on."
    ),
}
"""What the owner can do about an end that they didn't choose."""


@dataclass(frozen=True)
class Step:
    """A launch step; `state` is `waiting`, `running`, `done` or `failed`."""

    name: str
    label: str
    state: str
    started_at: datetime | None = None
    seconds: float | None = None
    usual_seconds: float | None = None
    """Median duration in recent launches; None once the sandbox runs."""


@dataclass(frozen=True)
class ExtensionQuote:
    """Whether the owner has used their extension, and how many minutes one would add now."""

    used: bool
    max_minutes: int


@dataclass(frozen=True)
class Deadline:
    """The next scheduled end of a sandbox, and a sentence about its status."""

    at: datetime | None
    reason: str | None
    """Which deadline it is: `idle`, `expired` or `cap`."""
    summary_parts: tuple[str | datetime, ...]
    """The summary with its times as datetimes, for pages that show them in local time."""
    is_soon: bool
    """Whether the owner is to be warned."""

    @property
    def summary(self) -> str:
        """The summary with its times in UTC."""
        return "".join(
            part if isinstance(part, str) else _format_time(part) for part in self.summary_parts
        )


def endpoints(sandbox: Sandbox) -> dict[str, str | None]:
    """Return the URLs of the sandbox by endpoint name; None unless it runs."""
    blueprint = blueprints.available().get(sandbox.blueprint)
    if blueprint is None:
        return {}
    reachable = sandbox.addresses if sandbox.state == State.RUNNING else {}
    return dict.fromkeys(blueprint.endpoints) | blueprint.endpoint_urls(reachable)


def extension_quote(sandbox: Sandbox, extended: bool | None = None) -> ExtensionQuote:
    """Return the extension that the owner can still request; none unless the sandbox runs.

    `extended` says whether the owner has used it, if the caller knows.
    """
    if sandbox.started_at is None:
        return ExtensionQuote(used=False, max_minutes=0)
    used = extended
    if used is None:
        used = any(not granted.by_operator for granted in sandbox.extensions.all())
    if used or sandbox.state != State.RUNNING:
        return ExtensionQuote(used, 0)
    longest = limits.extension_preview(sandbox, config.SANDBOX_EXTENSION_MAX_MINUTES)
    return ExtensionQuote(used, longest // timedelta(minutes=1))


def steps(sandbox: Sandbox, estimate: LaunchEta | None = None) -> list[Step]:
    """Return the launch steps so far and, until the sandbox runs, those that remain."""
    usual = estimate.typical.seconds if estimate else {}
    reported = [_step(step, usual.get(step["name"])) for step in sandbox.steps]
    if sandbox.state not in (State.PENDING, State.PROVISIONING):
        return reported
    reached = {step.name for step in reported}
    return reported + [
        Step(name, STEP_LABELS[name], "waiting", usual_seconds=usual.get(name))
        for name in STEP_LABELS
        if name not in reached
    ]


def _step(step: dict[str, Any], usual_seconds: float | None) -> Step:
    return Step(
        name=step["name"],
        label=STEP_LABELS.get(step["name"], step["name"].capitalize()),
        state=step["state"],
        started_at=datetime.fromisoformat(step["started_at"]),
        seconds=step["seconds"],
        usual_seconds=usual_seconds,
    )


def failed_step(sandbox: Sandbox) -> Step | None:
    """Return the launch step that failed, if any."""
    return next((step for step in steps(sandbox) if step.state == "failed"), None)


def advice(sandbox: Sandbox) -> str | None:
    """Return a sentence on what the owner can do about an end that they didn't choose."""
    return ADVICE.get(sandbox.end_reason)


def problem(sandbox: Sandbox) -> str | None:
    """Return what is broken about a running sandbox and what happens next; None if nothing is."""
    if sandbox.state != State.RUNNING or not sandbox.problem:
        return None
    what_next = NOT_READY_REMEDY if sandbox.repair_after else "The portal is repairing it."
    return f"{sandbox.problem} {what_next}"


def final_logs(sandbox: Sandbox) -> str:
    """Return the last log lines of an ended sandbox."""
    return sandbox.failure.get("log_tail") or sandbox.final_logs


def deadline(sandbox: Sandbox) -> Deadline:
    """Return the next scheduled end and the status summary of the sandbox."""
    at = sandbox.ends_at
    warning = timedelta(minutes=config.SANDBOX_WARNING_MINUTES)
    is_soon = at is not None and at - clock.now() <= warning
    return Deadline(at, sandbox.ends_because, _summary_parts(sandbox), is_soon)


def _summary_parts(sandbox: Sandbox) -> tuple[str | datetime, ...]:
    match sandbox.state:
        case State.PENDING:
            return ("Queued.",)
        case State.PROVISIONING:
            return ("Starting…",)
        case State.POOLED:
            return ("Waiting in the warm pool.",)
        case State.RUNNING:
            return _running_summary_parts(sandbox)
        case State.DESTROYING:
            return (f"Being removed. {end_reason_label(sandbox)}.",)
    assert sandbox.ended_at
    verb = "Failed" if sandbox.state == State.FAILED else "Ended"
    at = f"{sandbox.ended_at.astimezone(UTC):%d %b, %H:%M}"
    return (f"{verb} on {at} UTC. {end_reason_label(sandbox)}.",)


def _running_summary_parts(sandbox: Sandbox) -> tuple[str | datetime, ...]:
    assert sandbox.ends_at and sandbox.expires_at
    match sandbox.ends_because:
        case "idle":
            return ("Stops at ", sandbox.ends_at, " if idle; expires at ", sandbox.expires_at, ".")
        case "cap":
            return ("Expires at ", sandbox.ends_at, " (maximum lifetime).")
        case _expired:
            return ("Expires at ", sandbox.ends_at, ".")


def end_reason_label(sandbox: Sandbox) -> str:
    """Return why the sandbox ended, with a capital first letter and without a period."""
    return capfirst(EndReason(sandbox.end_reason).label)


def _format_time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M} UTC"
