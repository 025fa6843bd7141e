"""Texts about a sandbox that the card, the API, webhooks and the admin share.

The functions read a row that is already loaded; `Sandbox.extensions` may be prefetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.text import capfirst

from sandboxes import blueprints
from sandboxes.core import limits, reaper_policy
from sandboxes.core.launch_eta import LaunchEta
from sandboxes.core.reaper_policy import NOT_READY_REMEDY
from sandboxes.gateway import names as gateway
from sandboxes.lib import clock, support
from sandboxes.models import (
    LAUNCHING_STATES,
    OPERATOR_REASONS,
    EndReason,
    EventKind,
    Sandbox,
    State,
)
from sandboxes.models.runtime_settings import config

STEP_LABELS = {
    "network": "Create network",
    "containers": "Start containers",
    "ready": "Wait until ready",
}
"""Labels of the steps that a runtime reports, in this order."""
REPLACEABLE = "The sandbox returns with it. To continue immediately without its data, replace it."
TRIAL_MODE = "Trial mode: no isolation between sandboxes."
ADVICE: dict[str, str] = {
    EndReason.PROVISION_FAILED: (
        "Launch again. If the same step fails again, send the logs to {administrator}."
    ),
    EndReason.CRASHED: "Check the last log lines, then launch a new sandbox.",
    EndReason.OUT_OF_MEMORY: (
        "Launch a new sandbox, and use pagination and smaller batches to save memory."
    ),
    EndReason.DISK_FULL: "Launch a new sandbox, and write less data to it.",
    EndReason.LOST: "This wasn't caused by you. Launch again.",
    EndReason.HEARTBEAT: "The program that launched it stopped, or lost its connection.",
    EndReason.IDLE: (
        "Requests to the sandbox keep it running, and so does “Keep alive”. Launch again to "
        "continue."
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


Sentence = tuple[str | datetime, ...]
"""A sentence whose times are datetimes, for pages that show them in local time."""


@dataclass(frozen=True)
class Deadline:
    """The end of a sandbox to count down to, and sentences about its status.

    That is the end of its lifetime, because the idle timeout moves with each request. From the
    warning before it on, it is the idle timeout.
    """

    at: datetime | None
    reason: str | None
    """Which deadline it is: `idle`, `expired` or `cap`."""
    headline: Sentence
    note: Sentence
    """About the other deadline, if both can end it, or an operator's reason; otherwise empty."""
    is_soon: bool
    """Whether the owner is to be warned."""

    @property
    def summary(self) -> str:
        """Both sentences, with times in UTC."""
        return " ".join(_format(sentence) for sentence in (self.headline, self.note) if sentence)


def endpoints(sandbox: Sandbox) -> dict[str, str | None]:
    """Return the URLs of the sandbox by endpoint name; None unless it runs."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    if blueprint is None:
        return {}
    reachable = sandbox.addresses if sandbox.state == State.RUNNING else {}
    return dict.fromkeys(blueprint.endpoints) | blueprint.endpoint_urls(
        reachable, gateway.locator(sandbox.public_id)
    )


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
    if sandbox.state not in LAUNCHING_STATES:
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
    return next((_step(step, None) for step in sandbox.steps if step["state"] == "failed"), None)


def advice(sandbox: Sandbox) -> str | None:
    """Return a sentence on what the owner can do about an end that they didn't choose."""
    text = ADVICE.get(sandbox.end_reason)
    return text and text.format(administrator=support.administrator())


def operator_reason(sandbox: Sandbox) -> str | None:
    """Return the reason that an operator gave for ending the sandbox."""
    if sandbox.end_reason not in OPERATOR_REASONS:
        return None
    is_generic = sandbox.end_message == f"{end_reason_label(sandbox)}."
    return None if is_generic else sandbox.end_message or None


def problem(sandbox: Sandbox) -> str | None:
    """Return what is broken about a running sandbox and what happens next; None if nothing is."""
    if sandbox.is_replaceable:
        assert sandbox.unreachable_since
        since = _format((sandbox.unreachable_since,))
        return f"The machine that runs it hasn't responded since {since}. {REPLACEABLE}"
    if sandbox.state != State.RUNNING or not sandbox.problem:
        return None
    what_next = NOT_READY_REMEDY if sandbox.repair_after else "The portal is repairing it."
    return f"{sandbox.problem} {what_next}"


def final_logs(sandbox: Sandbox) -> str:
    """Return the last log lines of an ended sandbox."""
    return sandbox.failure.get("log_tail") or sandbox.final_logs


def deadline(sandbox: Sandbox) -> Deadline:
    """Return the end to count down to, and the status of the sandbox in sentences."""
    if sandbox.state != State.RUNNING:
        reason = operator_reason(sandbox)
        note = (f"Reason: {reason}",) if reason else ()
        return Deadline(None, None, _status(sandbox), note, is_soon=False)
    assert sandbox.expires_at and sandbox.idle_expires_at and sandbox.ends_at
    is_soon = sandbox.ends_at - clock.now() <= reaper_policy.warning_lead(sandbox)
    is_maximum = sandbox.expires_at == sandbox.hard_cap_at
    expires: Sentence = (
        "Expires at ",
        sandbox.expires_at,
        " (maximum lifetime)." if is_maximum else ".",
    )
    if sandbox.ends_because != "idle":
        return Deadline(sandbox.ends_at, sandbox.ends_because, expires, (), is_soon)
    stops: Sentence = ("Stops at ", sandbox.idle_expires_at, " if idle.")
    if is_soon:
        return Deadline(sandbox.ends_at, "idle", stops, expires, is_soon)
    kind = "cap" if is_maximum else "expired"
    return Deadline(sandbox.expires_at, kind, expires, stops, is_soon)


def _status(sandbox: Sandbox) -> Sentence:
    match sandbox.state:
        case State.PENDING:
            return ("Queued.",)
        case State.PROVISIONING:
            return ("Starting…",)
        case State.POOLED:
            return ("Waiting in the warm pool.",)
        case State.DESTROYING:
            return (f"Being removed. {end_reason_label(sandbox)}.",)
    assert sandbox.ended_at
    verb = "Failed" if sandbox.state == State.FAILED else "Ended"
    at = f"{sandbox.ended_at.astimezone(UTC):%d %b, %H:%M}"
    return (f"{verb} on {at} UTC. {end_reason_label(sandbox)}.",)


RESET_REQUESTS = (EventKind.RESET_REQUESTED, EventKind.RESTORE_REQUESTED)
RESET_NAMES: dict[str, str] = {EventKind.RESET: "Reset", EventKind.RESTORED: "Restoration"}
RESET_FAILURES = (EventKind.RESET_FAILED, EventKind.RESTORE_FAILED)


@dataclass(frozen=True)
class ResetResult:
    """How the last reset ended, in a sentence."""

    succeeded: bool
    message: str


def reset_result(sandbox: Sandbox) -> ResetResult | None:
    """Return how the last reset or restoration ended; None if there was none or one is pending."""
    kinds = (*RESET_REQUESTS, *RESET_NAMES, *RESET_FAILURES)
    match list(sandbox.events.filter(kind__in=kinds).order_by("-id")[:2]):
        case [ended, _] if ended.kind in RESET_FAILURES:
            return ResetResult(succeeded=False, message=ended.message)
        case [ended, requested] if ended.kind in RESET_NAMES:
            seconds = (ended.created_at - requested.created_at).total_seconds()
            message = f"{RESET_NAMES[ended.kind]} finished in {seconds:.1f} s."
            return ResetResult(succeeded=True, message=message)
    return None


def end_reason_label(sandbox: Sandbox) -> str:
    """Return why the sandbox ended, with a capital first letter and without a period."""
    return capfirst(EndReason(sandbox.end_reason).label)


def _format(sentence: Sentence) -> str:
    return "".join(
        part if isinstance(part, str) else f"{part.astimezone(UTC):%H:%M} UTC" for part in sentence
    )


def parameter_value(value: str | int | bool) -> str:
    """Return a parameter's value as pages show it."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return str(value)


def parameters(sandbox: Sandbox, *, with_defaults: bool = True) -> list[tuple[str, str]]:
    """Return titles and values of the parameters, in the blueprint's order.

    Without defaults, only those whose value isn't the blueprint's default. If the blueprint is
    gone, all are returned, with their names as titles.
    """
    chosen: dict[str, str | int | bool] = sandbox.parameters
    blueprint = blueprints.find_for_sandbox(sandbox) if chosen else None
    known = blueprint.parameters if blueprint else {}
    names = [name for name in known if name in chosen]
    if not with_defaults:
        names = [name for name in names if chosen[name] != known[name].default]
    found = [(known[name].title, parameter_value(chosen[name])) for name in names]
    unknown = (name for name in chosen if name not in known)
    return [*found, *((name, parameter_value(chosen[name])) for name in unknown)]
