"""A sandbox in words: what the card, the API and the admin say alike.

Everything here reads a row that is in memory already; `Sandbox.extensions` may be prefetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any

from sandboxes import blueprints
from sandboxes.core import limits
from sandboxes.core.launch_eta import LaunchEta
from sandboxes.lib import clock
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.models.runtime_settings import config

STEPS = {
    "network": "Private network",
    "containers": "Containers started",
    "ready": "Answers and holds its seed data",
}
"""What a runtime reports, in this order, and how people read it."""
TRIAL_MODE = "Trial mode: no isolation between sandboxes."
ADVICE: dict[str, str] = {
    EndReason.PROVISION_FAILED: (
        "Launch it again. If the same step fails again, tell an operator what its services wrote."
    ),
    EndReason.CRASHED: (
        "What the service wrote last says why. Launching again gives a fresh one, with its seed."
    ),
    EndReason.OUT_OF_MEMORY: (
        "Launch it again and do less at once: read in pages, write in smaller batches."
    ),
    EndReason.DISK_FULL: "Launch it again and write less into it.",
    EndReason.LOST: "It was no fault of yours. Launch it again.",
    EndReason.IDLE: (
        "Requests to the sandbox keep it; so does “Keep alive”. Launch it again to go on."
    ),
}
"""What its owner can do about an end that they did not choose."""


@dataclass(frozen=True)
class Step:
    """One step of provisioning; `state` is `waiting`, `running`, `done` or `failed`."""

    name: str
    label: str
    state: str
    started_at: datetime | None = None
    seconds: float | None = None
    usual_seconds: float | None = None
    """The median of recent launches, while it is being made."""


@dataclass(frozen=True)
class ExtensionOffer:
    """Whether the owner's extension is used, and what one would give now at most, in minutes."""

    used: bool
    max_minutes: int


@dataclass(frozen=True)
class Ending:
    """Which clock ends the sandbox (`idle`, `expired` or `cap`), when, and that in words."""

    at: datetime | None
    because: str | None
    words: tuple[str | datetime, ...]
    """The sentence with its moments as such, for pages that show them in the reader's zone."""
    soon: bool

    @property
    def sentence(self) -> str:
        """The words with their moments in UTC."""
        return "".join(word if isinstance(word, str) else _time(word) for word in self.words)


def endpoints(sandbox: Sandbox) -> dict[str, str | None]:
    """Where it can be reached, by the blueprint's names of endpoints; None until it runs."""
    blueprint = blueprints.available().get(sandbox.blueprint)
    if blueprint is None:
        return {}
    reachable = sandbox.addresses if sandbox.state == State.RUNNING else {}
    return dict.fromkeys(blueprint.endpoints) | blueprint.endpoint_urls(reachable)


def extension(sandbox: Sandbox) -> ExtensionOffer:
    """What its owner can still ask for; nothing unless it runs."""
    used = any(not granted.by_operator for granted in sandbox.extensions.all())
    if used or sandbox.state != State.RUNNING:
        return ExtensionOffer(used, 0)
    most = limits.extension_preview(sandbox, config.SANDBOX_EXTENSION_MAX_MINUTES)
    return ExtensionOffer(used, most // timedelta(minutes=1))


def steps(sandbox: Sandbox, estimate: LaunchEta | None = None) -> list[Step]:
    """The steps of provisioning so far and, while it is being made, those still to come."""
    usual = estimate.typical.seconds if estimate else {}
    known = [_step(step, usual.get(step["name"])) for step in sandbox.steps]
    if sandbox.state not in (State.PENDING, State.PROVISIONING):
        return known
    reached = {step.name for step in known}
    return known + [
        Step(name, STEPS[name], "waiting", usual_seconds=usual.get(name))
        for name in STEPS
        if name not in reached
    ]


def _step(step: dict[str, Any], usual_seconds: float | None) -> Step:
    return Step(
        name=step["name"],
        label=STEPS.get(step["name"], step["name"].capitalize()),
        state=step["state"],
        started_at=datetime.fromisoformat(step["started_at"]),
        seconds=step["seconds"],
        usual_seconds=usual_seconds,
    )


def failed_step(sandbox: Sandbox) -> Step | None:
    """The step at which its making failed."""
    return next((step for step in steps(sandbox) if step.state == "failed"), None)


def advice(sandbox: Sandbox) -> str | None:
    """What its owner can do now, in a sentence, about an end that they did not choose."""
    return ADVICE.get(sandbox.end_reason)


def last_logs(sandbox: Sandbox) -> str:
    """What its services wrote last, once it has ended."""
    return sandbox.failure.get("log_tail") or sandbox.last_logs


def ending(sandbox: Sandbox) -> Ending:
    """What will end it or has ended it; `soon` when its owner is to be warned of it."""
    at = sandbox.ends_at
    warning = timedelta(minutes=config.SANDBOX_WARNING_MINUTES)
    soon = at is not None and at - clock.now() <= warning
    return Ending(at, sandbox.ends_because, _words(sandbox), soon)


def _words(sandbox: Sandbox) -> tuple[str | datetime, ...]:
    match sandbox.state:
        case State.PENDING:
            return ("It waits for a worker.",)
        case State.PROVISIONING:
            return ("It is being made, which takes a few seconds.",)
        case State.POOLED:
            return ("It waits in the pool for its owner.",)
        case State.RUNNING:
            return _running_words(sandbox)
        case State.DESTROYING:
            return (f"It is being removed: {why(sandbox)}.",)
    assert sandbox.ended_at
    failed = sandbox.state == State.FAILED
    words = "Failed on {at} UTC: {why}." if failed else "Ended on {at} UTC: {why}."
    at = f"{sandbox.ended_at.astimezone(UTC):%d %b, %H:%M}"
    return (words.format(at=at, why=why(sandbox)),)


def _running_words(sandbox: Sandbox) -> tuple[str | datetime, ...]:
    assert sandbox.ends_at and sandbox.expires_at
    match sandbox.ends_because:
        case "idle":
            words = "Ends at {end} if it stays idle, at {latest} at the latest."
        case "cap":
            words = "Ends at {end}, when the longest allowed lifetime is over."
        case _expired:
            words = "Ends at {end}, when its time is up."
    return _with_moments(words, end=sandbox.ends_at, latest=sandbox.expires_at)


def _with_moments(words: str, **moments: datetime) -> tuple[str | datetime, ...]:
    """The words with moments, and not texts, in the places of that name."""
    parts: list[str | datetime] = []
    for text, name, *_rest in Formatter().parse(words):
        parts += [text] if text else []
        parts += [moments[name]] if name else []
    return tuple(parts)


def why(sandbox: Sandbox) -> str:
    """Why it ended, in words that go on a sentence."""
    return str(EndReason(sandbox.end_reason).label)


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M} UTC"
