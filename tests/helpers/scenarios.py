"""Common steps of tests: launches, sweeps, queries of the current state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import TestCase
from django.utils import timezone

from sandboxes import actions
from sandboxes.models import Sandbox
from sandboxes.models.abstract.singleton import Singleton
from sandboxes.pool import tasks as pool_tasks
from sandboxes.reaper.sweep import Sweep
from sandboxes.worker import provisioning

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime import SandboxFacts
    from sandboxes.runtime.memory import MemoryRuntime


# Of an authenticator app: how long it shows a code, and how long a test may take to send it.
CODE_SECONDS = 30
TYPING_SECONDS = 6


class Killed(BaseException):
    """Simulates the kill of a process: no handler and no clean-up runs."""


@contextmanager
def run_on_commit() -> Iterator[None]:
    """Run the callbacks registered inside, including tasks, at the end as after a commit."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        yield


def request(user: User, **choices: Any) -> Sandbox:
    """Request a sandbox; its messages to the worker are lost."""
    return actions.launch_sandbox(user, actions.LaunchRequest(**choices))[0]


def launch(user: User, **choices: Any) -> Sandbox:
    """Return a running sandbox whose Stellar account isn't funded yet."""
    sandbox = request(user, **choices)
    provisioning.provision(reload(sandbox))
    return reload(sandbox)


def reload(sandbox: Sandbox) -> Sandbox:
    """Return the current row."""
    return Sandbox.objects.get(pk=sandbox.pk)


def after_next_observe(runtime: MemoryRuntime, act: Callable[[], object]) -> None:
    """Call `act` after the next observation, whose result is then outdated."""
    observe = runtime.observe

    def observed(*asked: Any, **choices: Any) -> dict[str, SandboxFacts]:
        found = observe(*asked, **choices)
        runtime.observe = observe  # type: ignore[method-assign]
        act()
        return found

    runtime.observe = observed  # type: ignore[method-assign]


def expire(*sandboxes: Sandbox) -> None:
    """Make these sandboxes expire one second ago."""
    past = timezone.now() - timedelta(seconds=1)
    Sandbox.objects.filter(pk__in=[s.pk for s in sandboxes]).update(expires_at=past)


def sweep(**options: Any) -> Sweep:
    """Run a sweep and the tasks that it sent to the worker."""
    with run_on_commit():
        return Sweep(**options).run()


def event_kinds(sandbox: Sandbox) -> list[str]:
    """Return the kinds of the sandbox's journal events in order."""
    return list(sandbox.events.values_list("kind", flat=True))


def last_message(sandbox: Sandbox) -> str:
    """Return the message of the sandbox's last journal event."""
    event = sandbox.events.last()
    assert event
    return event.message


def pooled() -> list[Sandbox]:
    """Return the sandboxes that wait in the pool, oldest first."""
    return list(Sandbox.objects.pooled().order_by("pk"))


def reconcile_pool() -> None:
    """Fill the pool as a worker does."""
    with run_on_commit():
        pool_tasks.reconcile_pools()


def state_and_reason(row: Sandbox) -> tuple[str, str]:
    """Return the current state, and the end reason if the sandbox has ended."""
    return reload(row).state, reload(row).end_reason


def totp_code(key: str) -> str:
    """Return the current code of an authenticator app with this key, not about to expire."""
    left = CODE_SECONDS - time.time() % CODE_SECONDS
    if left < TYPING_SECONDS:
        time.sleep(left)
    return format_hotp_value(hotp_value(key, int(time.time()) // CODE_SECONDS))


def create_singletons() -> None:
    """Create the rows of the tables with one row, which concurrent transactions share."""
    for model in Singleton.__subclasses__():
        model.current()
