"""Waiting for other processes, workers and engines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

FIRST_PAUSE, LAST_PAUSE = 0.02, 0.1
"""What is awaited uses the same processors as the check."""


def wait_for(
    true: Callable[[], Any], what: str, seconds: float = 60, pause: float | None = None
) -> Any:
    """Return the first true result of `true`, which is called every `pause` seconds.

    By default, the pauses grow from `FIRST_PAUSE` to `LAST_PAUSE` seconds. Raises TimeoutError with
    `what` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    interval = pause or FIRST_PAUSE
    while not (result := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {seconds:g} s this was still awaited: {what}.")
        time.sleep(interval)
        interval = pause or min(interval * 1.2, LAST_PAUSE)
    return result
