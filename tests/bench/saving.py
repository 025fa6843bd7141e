"""Save points: how long a save, its pause, a restoration and a launch from one take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.bench.environment import SANDBOXES, PortalEnvironment, billing, destroy, launch
from tests.bench.http_client import HttpClient
from tests.helpers.wait import wait_for

SAVE_POINTS = "/api/v1/save-points"
POLL_INTERVAL_SECONDS = 0.005


def save_points(env: PortalEnvironment, times: int) -> dict[str, Any]:
    """Measure saves, restorations and launches in turn, from the request to the result."""
    client = env.developer()
    found: dict[str, list[float]] = {
        name: [] for name in ("save", "pause", "restore", "launch", "cold")
    }
    for _ in range(times):
        response, sandbox = launch(client)
        found["cold"].append(response.seconds)
        billing(client, sandbox)("POST", "/v1/plans", {"name": "Saved", "amount": "1.00"})
        began = time.perf_counter()
        path = f"{SANDBOXES}/{sandbox['id']}"
        saved = client("POST", f"{path}/save-points", {"name": "bench"}).json()
        one = f"{SAVE_POINTS}/{saved['id']}"
        _wait(client, one, lambda row: row["state"] != "saving")
        found["save"].append(time.perf_counter() - began)
        found["pause"].append(client.get(one).json()["pause_seconds"])
        began = time.perf_counter()
        client("POST", f"{one}/restore")
        _wait(client, path, lambda row: not row["reset_pending"])
        found["restore"].append(time.perf_counter() - began)
        began = time.perf_counter()
        copy = client("POST", SANDBOXES, {"save_point": saved["id"]}, Prefer="wait=60").json()
        found["launch"].append(time.perf_counter() - began)
        assert copy["state"] == "running", copy
        for each in (copy, sandbox):
            destroy(env, client, each)
        client("DELETE", one)
    return found


def _wait(client: HttpClient, path: str, done: Callable[[dict[str, Any]], bool]) -> None:
    wait_for(lambda: done(client.get(path).json()), path, pause=POLL_INTERVAL_SECONDS)
