"""Calls to several engines at once, so that none of them holds up the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from threading import Thread
from time import monotonic
from typing import Any, TypeVar

from sandboxes.runtime.errors import EngineUnreachable, RuntimeFailure

Result = TypeVar("Result")

DEFAULT_ENGINE = "default"
"""Name of the engine that the environment describes (`DOCKER_HOST` and others)."""
ENGINE_SECONDS = 10.0
"""Time for each of several engines to answer a call that describes or measures."""
LARGEST_FIGURE = 2**53
"""Upper bound of the figures of an engine; databases can store it."""


def call_engines(
    calls: Mapping[str, Callable[[], Result]], seconds: float = ENGINE_SECONDS
) -> tuple[dict[str, Result], dict[str, RuntimeFailure]]:
    """Return the results and the failures of these calls, by the engine's name.

    Each may take `seconds`; what takes longer counts as EngineUnreachable, and its result is lost.
    So does an answer that can't be right, because it must not stop the work on other engines.

    A call of the default engine alone runs in the caller's thread, with its own time limits only,
    and its errors are raised unless they are RuntimeFailures.
    """
    outcomes: dict[str, Result | RuntimeFailure] = {}
    if list(calls) == [DEFAULT_ENGINE]:
        try:
            return {DEFAULT_ENGINE: calls[DEFAULT_ENGINE]()}, {}
        except RuntimeFailure as error:
            return {}, {DEFAULT_ENGINE: error}

    def ask(name: str, call: Callable[[], Result]) -> None:
        try:
            result = call()
            _check(result)
        except RuntimeFailure as error:
            outcomes[name] = error
        except Exception as error:  # noqa: BLE001 - a wrong answer may lead to any
            outcomes[name] = _wrong_answer(error)
        else:
            outcomes[name] = result

    # Daemons: an engine that hangs must not keep this process from ending.
    threads = [Thread(target=ask, args=one, daemon=True) for one in calls.items()]
    until = monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, until - monotonic()))
    return _sorted_out(calls, dict(outcomes), seconds)


def _sorted_out(
    calls: Mapping[str, object], outcomes: Mapping[str, Result | RuntimeFailure], seconds: float
) -> tuple[dict[str, Result], dict[str, RuntimeFailure]]:
    results: dict[str, Result] = {}
    failures: dict[str, RuntimeFailure] = {}
    late = EngineUnreachable(f"The engine did not answer within {seconds:g} seconds.")
    for name in calls:
        outcome = outcomes.get(name, late)
        if isinstance(outcome, RuntimeFailure):
            failures[name] = outcome
        else:
            results[name] = outcome
    return results, failures


def _wrong_answer(cause: Exception) -> EngineUnreachable:
    what = f"{type(cause).__name__}: {cause}"[:100]
    failure = EngineUnreachable(f"The engine's answer can't be right ({what}).")
    failure.__cause__ = cause
    return failure


def _check(value: Any) -> None:
    """Raise ValueError if a result contains what no engine measures and no database stores."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text with a NUL character")
    elif isinstance(value, int | float):
        if not (math.isfinite(value) and abs(value) < LARGEST_FIGURE):
            raise ValueError("a figure that is too large")
    else:
        for part in _parts(value):
            _check(part)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if is_dataclass(value):
        return [getattr(value, each.name) for each in fields(value)]
    return value if isinstance(value, list | tuple | set | frozenset) else ()
