"""Calls to several engines at once, so that none of them holds up the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Thread
from time import monotonic
from typing import TypeVar

from sandboxes.runtime.errors import EngineUnreachable, RuntimeFailure

Result = TypeVar("Result")

ENGINE_SECONDS = 10.0
"""Time for each of several engines to answer a call that describes or measures."""


def call_engines(
    calls: Mapping[str, Callable[[], Result]], seconds: float = ENGINE_SECONDS
) -> tuple[dict[str, Result], dict[str, RuntimeFailure]]:
    """Return the results and the failures of these calls, by the engine's name.

    Each may take `seconds`; what takes longer counts as EngineUnreachable, and its result is lost.
    A single call runs in the caller's thread, with its own time limits only. Raises the first error
    that isn't a RuntimeFailure.
    """
    outcomes: dict[str, Result | Exception] = {}

    def ask(name: str, call: Callable[[], Result]) -> None:
        try:
            outcomes[name] = call()
        except Exception as error:  # noqa: BLE001 - raised by the caller's thread
            outcomes[name] = error

    if len(calls) == 1:
        ask(*next(iter(calls.items())))
    else:
        # Daemons: an engine that hangs must not keep this process from ending.
        threads = [Thread(target=ask, args=one, daemon=True) for one in calls.items()]
        until = monotonic() + seconds
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0, until - monotonic()))
    return _sorted_out(calls, dict(outcomes), seconds)


def _sorted_out(
    calls: Mapping[str, object], outcomes: Mapping[str, Result | Exception], seconds: float
) -> tuple[dict[str, Result], dict[str, RuntimeFailure]]:
    results: dict[str, Result] = {}
    failures: dict[str, RuntimeFailure] = {}
    late = EngineUnreachable(f"The engine did not answer within {seconds:g} seconds.")
    for name in calls:
        outcome = outcomes.get(name, late)
        if isinstance(outcome, RuntimeFailure):
            failures[name] = outcome
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            results[name] = outcome
    return results, failures
