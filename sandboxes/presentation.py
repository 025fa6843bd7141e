"""A sandbox in words: what the card, the API and the admin say alike.

Everything here reads a row that is in memory already; `Sandbox.extensions` may be prefetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sandboxes import actions, blueprints, clock
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.models.tuning import settings

STEPS = {
    "network": "Private network",
    "containers": "Containers started",
    "ready": "Answers and holds its seed data",
}
"""What a runtime reports, in this order, and how people read it."""
TRIAL_MODE = "Trial mode: no isolation between sandboxes."


@dataclass(frozen=True)
class Step:
    """One step of provisioning; `state` is `waiting`, `running`, `done` or `failed`."""

    name: str
    label: str
    state: str
    started_at: datetime | None = None
    seconds: float | None = None


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


def is_isolated() -> bool:
    """Whether sandboxes are kept apart from each other and from the machine."""
    return bool(settings.SANDBOX_RUNTIME != "process")


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
    most = actions.extension_preview(sandbox, settings.SANDBOX_EXTENSION_MAX_MINUTES)
    return ExtensionOffer(used, most // timedelta(minutes=1))


def steps(sandbox: Sandbox) -> list[Step]:
    """The steps of provisioning so far and, while it is being made, those still to come."""
    known = [_step(step) for step in sandbox.steps]
    if sandbox.state not in (State.PENDING, State.PROVISIONING):
        return known
    reached = {step.name for step in known}
    return known + [Step(name, STEPS[name], "waiting") for name in STEPS if name not in reached]


def _step(step: dict[str, Any]) -> Step:
    return Step(
        name=step["name"],
        label=STEPS.get(step["name"], step["name"].capitalize()),
        state=step["state"],
        started_at=datetime.fromisoformat(step["started_at"]),
        seconds=step["seconds"],
    )


def ending(sandbox: Sandbox) -> Ending:
    """What will end it or has ended it; `soon` when its owner is to be warned of it."""
    at = sandbox.ends_at
    warning = timedelta(minutes=settings.SANDBOX_WARNING_MINUTES)
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
            return (f"It is being removed: {_why(sandbox)}.",)
    assert sandbox.ended_at
    what = "Failed" if sandbox.state == State.FAILED else "Ended"
    return (f"{what} on {sandbox.ended_at.astimezone(UTC):%d %b, %H:%M} UTC: {_why(sandbox)}.",)


def _running_words(sandbox: Sandbox) -> tuple[str | datetime, ...]:
    assert sandbox.ends_at and sandbox.expires_at
    ends = ("Ends at ", sandbox.ends_at)
    match sandbox.ends_because:
        case "idle":
            return (*ends, " if it stays idle, at ", sandbox.expires_at, " at the latest.")
        case "cap":
            return (*ends, ", when the longest allowed lifetime is over.")
    return (*ends, ", when its time is up.")


def _why(sandbox: Sandbox) -> str:
    return str(EndReason(sandbox.end_reason).label)


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M} UTC"
