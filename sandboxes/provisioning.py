"""The worker's side: make a sandbox, put its data back, take it down.

Each function may be run again after the process was killed anywhere in it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings

from sandboxes import clock, lifecycle
from sandboxes.blueprints import Blueprint, addresses, load
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.runtime import (
    EngineUnreachable,
    NotReady,
    RuntimeFailure,
    SandboxFacts,
    get_runtime,
)

log = structlog.get_logger(__name__)

GIVE_UP_AFTER = timedelta(minutes=10)
RETRY_DELAY = timedelta(seconds=5)
LONGEST_RETRY_DELAY = timedelta(minutes=10)
RENEW_EVERY = timedelta(seconds=5)
RESET_TIMEOUT_SECONDS = 20.0
LOG_LINES = 60


class Superseded(Exception):
    """The sandbox was ended, or taken over, while this worker was busy with it."""


class Progress:
    """Writes the steps of provisioning to the row, and keeps the lease while a step waits."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.steps: list[dict[str, Any]] = []
        self.renewed_at = clock.now()

    def report(self, name: str) -> None:
        """The step of this name goes on now. Raises Superseded."""
        now = clock.now()
        if not self.steps or self.steps[-1]["name"] != name:
            self.close("done", now)
            self.steps.append(
                {"name": name, "state": "running", "started_at": now.isoformat(), "seconds": None}
            )
        elif now - self.renewed_at < RENEW_EVERY:
            return
        self.save(now)

    def close(self, state: str, now: datetime) -> None:
        if self.steps and self.steps[-1]["state"] == "running":
            began = datetime.fromisoformat(self.steps[-1]["started_at"])
            self.steps[-1] |= {"state": state, "seconds": round((now - began).total_seconds(), 2)}

    def save(self, now: datetime) -> None:
        self.renewed_at = now
        if not lifecycle.renew(self.sandbox, steps=self.steps):
            raise Superseded


def provision(sandbox: Sandbox) -> None:
    """Make the sandbox and set it running, or end it with the reason why that failed."""
    if not lifecycle.take(sandbox):
        return
    blueprint, progress = load(sandbox.blueprint), Progress(sandbox)
    try:
        facts = _create(sandbox, blueprint, progress)
        progress.close("done", clock.now())
        progress.save(clock.now())
        if not lifecycle.run(sandbox, addresses(facts), facts.traffic_bytes or 0):
            raise Superseded
    except Superseded:
        _clear_up(sandbox)
    except EngineUnreachable as error:
        _put_back(sandbox, error)
    except RuntimeFailure as error:
        progress.close("failed", clock.now())
        lifecycle.renew(sandbox, steps=progress.steps)
        _give_up(sandbox, error)


def _create(sandbox: Sandbox, blueprint: Blueprint, progress: Progress) -> SandboxFacts:
    variables = sandbox.secrets | {
        "SANDBOX_ID": sandbox.public_id,
        "SANDBOX_LAUNCHED_AT": sandbox.created_at.isoformat(),
        "SANDBOX_STELLAR_PUBLIC_KEY": sandbox.stellar_public_key,
    }
    spec = blueprint.spec(sandbox.public_id, variables, sandbox.disk_mb)
    timeout = float(settings.SANDBOX_PROVISION_TIMEOUT_SECONDS)
    return get_runtime().create(spec, progress.report, timeout)


def _clear_up(sandbox: Sandbox) -> None:
    """After losing the sandbox: what this worker made last may have come after its removal."""
    sandbox.refresh_from_db()
    if sandbox.state == State.PROVISIONING:
        return  # Another worker goes on with it.
    try:
        get_runtime().destroy(sandbox.public_id)
    except RuntimeFailure as error:
        log.warning("left_to_the_reaper", sandbox=sandbox.public_id, error=str(error))
    tear_down(sandbox)


def _put_back(sandbox: Sandbox, error: EngineUnreachable) -> None:
    """The engine is away: try again when it is back, but not for ever."""
    now = clock.now()
    if now - sandbox.created_at > GIVE_UP_AFTER:
        _give_up(sandbox, error)
    elif lifecycle.renew(sandbox):
        lifecycle.release(sandbox, until=now + RETRY_DELAY)
        lifecycle.journal(sandbox, "delayed", f"{error} It is tried again.")


def _give_up(sandbox: Sandbox, error: RuntimeFailure) -> None:
    service = error.service if isinstance(error, NotReady) else ""
    code = error.exit_code if isinstance(error, NotReady) else None
    reason = EndReason.PROVISION_FAILED
    fail(sandbox, reason, str(error), service, code, attempt=sandbox.attempt)


def fail(
    sandbox: Sandbox,
    reason: EndReason,
    message: str,
    service: str = "",
    exit_code: int | None = None,
    attempt: int | None = None,
) -> bool:
    """End a sandbox that broke, keeping what its services said last. False: it ended before."""
    failure = {"service": service, "exit_code": exit_code, "log_tail": last_words(sandbox)}
    ended = lifecycle.end(sandbox, reason, message, failure=failure, attempt=attempt)
    if ended:
        tear_down(sandbox)
    return ended


def last_words(sandbox: Sandbox) -> str:
    """The log tails of all its services, without its secrets."""
    parts = []
    for service in load(sandbox.blueprint).services:
        try:
            text = get_runtime().logs(sandbox.public_id, service.name, LOG_LINES)
        except RuntimeFailure as error:
            text = f"(no log: {error})"
        parts.append(f"== {service.name} ==\n{text.strip()}")
    return conceal("\n\n".join(parts), sandbox.secrets)


def conceal(text: str, secrets: dict[str, str]) -> str:
    """The text with every secret value blotted out."""
    for value in secrets.values():
        text = text.replace(value, "•••")
    return text


def reset(sandbox: Sandbox) -> None:
    """Put the seed data back, with the same endpoints and credentials."""
    if sandbox.reset_requested_at is None or not lifecycle.hold(sandbox, [State.RUNNING]):
        return
    command = load(sandbox.blueprint).reset
    try:
        code, output = get_runtime().execute(
            sandbox.public_id, command.service, command.command, RESET_TIMEOUT_SECONDS
        )
    except EngineUnreachable as error:
        lifecycle.release(sandbox, until=clock.now() + RETRY_DELAY)
        log.warning("reset_delayed", sandbox=sandbox.public_id, error=str(error))
        return
    except RuntimeFailure as error:
        code, output = 1, str(error)
    lifecycle.release(sandbox, reset_requested_at=None)
    if code == 0:
        lifecycle.journal(sandbox, "reset", "The seed data was put back.")
    else:
        tail = conceal(output, sandbox.secrets)[-500:]
        lifecycle.journal(sandbox, "reset_failed", f"The data could not be put back: {tail}")


def tear_down(sandbox: Sandbox) -> bool:
    """Remove all of it from the engine. False: another is at it, or it must be tried again."""
    if not lifecycle.hold(sandbox, [State.DESTROYING]):
        return False
    try:
        get_runtime().destroy(sandbox.public_id)
    except RuntimeFailure as error:
        _postpone_removal(sandbox, error)
        return False
    return lifecycle.finish(sandbox)


def _postpone_removal(sandbox: Sandbox, error: RuntimeFailure) -> None:
    attempts = sandbox.removal_attempts + 1
    delay = min(RETRY_DELAY * 2 ** min(attempts - 1, 10), LONGEST_RETRY_DELAY)
    message = str(error)[:300]
    lifecycle.release(
        sandbox,
        until=clock.now() + delay,
        removal_attempts=attempts,
        removal_error=message,
    )
    if message != sandbox.removal_error:
        lifecycle.journal(sandbox, "removal_delayed", f"{message} It is tried again.")
    log.warning("removal_delayed", sandbox=sandbox.public_id, attempts=attempts, error=message)
