"""Waiting for other processes, workers and engines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(true: Callable[[], Any], what: str, seconds: float = 60, pause: float = 0.02) -> Any:
    """Return the first true result of `true`, which is called every `pause` seconds.

    Raises TimeoutError with `what` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (result := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {seconds:g} s this was still awaited: {what}.")
        time.sleep(pause)
    return result
