"""Waiting for what others do: processes, workers, engines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(true: Callable[[], Any], what: str, seconds: float = 60, pause: float = 0.02) -> Any:
    """What `true` gives as soon as that is something. Asks it every `pause` seconds, at most for
    `seconds`; then raises TimeoutError with `what`."""
    deadline = time.monotonic() + seconds
    while not (result := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {seconds:g} s this was still awaited: {what}.")
        time.sleep(pause)
    return result
