"""A reset: how long until it is done, and how its users fare meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.bench.environment import LAUNCH, Stage, billing, destroy, launch
from tests.bench.http_client import Caller
from tests.waiting import until

CLIENTS = 4
ASK_EVERY_SECONDS = 0.02
LOOK_EVERY_SECONDS = 0.005
REST_SECONDS = 2.5
"""Between two resets the sandbox lays out what it needs for the next."""


def reset(stage: Stage, times: int) -> dict[str, Any]:
    """Seconds from each request to `reset_pending: false`, with clients at the sandbox's API."""
    caller = stage.developer()
    _, sandbox = launch(caller)
    seconds, longest, refused, asked = [], [], 0, 0
    for _ in range(times):
        time.sleep(REST_SECONDS)
        with _clients(billing(caller, sandbox) for _ in range(CLIENTS)) as clients:
            seconds.append(_reset(caller, sandbox))
        longest.append(max(client.longest for client in clients))
        refused += sum(client.refused for client in clients)
        asked += sum(client.asked for client in clients)
    destroy(stage, caller, sandbox)
    return {"seconds": seconds, "longest": longest, "refused": refused, "asked": asked}


def _reset(caller: Caller, sandbox: dict[str, Any]) -> float:
    path = f"{LAUNCH}/{sandbox['id']}"
    began = time.perf_counter()
    caller("POST", f"{path}/reset")
    until(
        lambda: not caller.get(path).json()["reset_pending"],
        "the reset is done",
        pause=LOOK_EVERY_SECONDS,
    )
    return time.perf_counter() - began


@dataclass
class _Client:
    """Asks for the plans again and again."""

    caller: Caller
    asked: int = 0
    refused: int = 0
    longest: float = 0.0
    """Seconds from one good answer to the next, less the pause between: the worst of them."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        good = time.perf_counter()
        while not self.stopped.wait(ASK_EVERY_SECONDS):
            self.asked += 1
            try:
                fine = self.caller.get("/v1/plans").status == 200
            except (OSError, HTTPException):
                fine = False
            now = time.perf_counter()
            if fine:
                self.longest = max(self.longest, now - good - ASK_EVERY_SECONDS)
                good = now
            else:
                self.refused += 1


@contextmanager
def _clients(callers: Iterator[Caller]) -> Iterator[list[_Client]]:
    clients = [_Client(caller) for caller in callers]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(5 * ASK_EVERY_SECONDS)
    try:
        yield clients
        time.sleep(5 * ASK_EVERY_SECONDS)
    finally:
        for client in clients:
            client.stopped.set()
        for thread in threads:
            thread.join(15)
