"""Resets: how long they take, and how long clients of the sandbox's API wait meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.bench.environment import SANDBOXES, PortalEnvironment, billing, destroy, launch
from tests.bench.http_client import HttpClient
from tests.helpers.wait import wait_for

USERS = 4
REQUEST_INTERVAL_SECONDS = 0.02
POLL_INTERVAL_SECONDS = 0.005
PAUSE_SECONDS = 2.5
"""Between two resets, in which the sandbox prepares the next one."""


def reset(env: PortalEnvironment, times: int) -> dict[str, Any]:
    """Measure resets, from the request to `reset_pending: false`, with clients using the API."""
    client = env.developer()
    _, sandbox = launch(client)
    seconds, longest_waits, failed, requests = [], [], 0, 0
    for _ in range(times):
        time.sleep(PAUSE_SECONDS)
        with _running_users(billing(client, sandbox) for _ in range(USERS)) as users:
            seconds.append(_reset(client, sandbox))
        longest_waits.append(max(user.longest_wait for user in users))
        failed += sum(user.failed for user in users)
        requests += sum(user.requests for user in users)
    destroy(env, client, sandbox)
    return {
        "seconds": seconds,
        "longest_wait": longest_waits,
        "failed_requests": failed,
        "requests": requests,
    }


def _reset(client: HttpClient, sandbox: dict[str, Any]) -> float:
    path = f"{SANDBOXES}/{sandbox['id']}"
    began = time.perf_counter()
    client("POST", f"{path}/reset")
    wait_for(
        lambda: not client.get(path).json()["reset_pending"],
        "the reset is done",
        pause=POLL_INTERVAL_SECONDS,
    )
    return time.perf_counter() - began


@dataclass
class _User:
    """A user of the sandbox's API who requests the plans over and over."""

    client: HttpClient
    requests: int = 0
    failed: int = 0
    longest_wait: float = 0.0
    """The most seconds between two successful responses, less the pause between requests."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        last_success = time.perf_counter()
        while not self.stopped.wait(REQUEST_INTERVAL_SECONDS):
            self.requests += 1
            try:
                succeeded = self.client.get("/v1/plans").status == 200
            except (OSError, HTTPException):
                succeeded = False
            now = time.perf_counter()
            if succeeded:
                wait = now - last_success - REQUEST_INTERVAL_SECONDS
                self.longest_wait = max(self.longest_wait, wait)
                last_success = now
            else:
                self.failed += 1


@contextmanager
def _running_users(clients: Iterator[HttpClient]) -> Iterator[list[_User]]:
    users = [_User(client) for client in clients]
    threads = [threading.Thread(target=user.run, daemon=True) for user in users]
    for thread in threads:
        thread.start()
    time.sleep(5 * REQUEST_INTERVAL_SECONDS)
    try:
        yield users
        time.sleep(5 * REQUEST_INTERVAL_SECONDS)
    finally:
        for user in users:
            user.stopped.set()
        for thread in threads:
            thread.join(15)
