"""Kill workers, reapers and web processes of a complete portal at random times while it is used."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from http.client import HTTPException
from typing import Any

from sandboxes.core import leases
from sandboxes.models import Sandbox
from tests.bench.http_client import HttpClient
from tests.chaos.environment import OBJECT_KINDS, ChaosEnvironment
from tests.chaos.kills import KillStats, count_stuck
from tests.chaos.portal_process import SANDBOXES, ChaosPortal, running_chaos_portal
from tests.chaos.scenarios import has_unfinished_work
from tests.helpers.wait import wait_for

USERS = 3
MAX_PER_USER = 2
MAX_PAUSE_SECONDS = 2.0
ACTIONS = ("launch", "launch", "destroy", "reset", "list")


def run(env: ChaosEnvironment, kills: int, seed: str) -> dict[str, Any]:
    """Kill this many processes, then sweep once and count what is stuck."""
    rng, killed, stats = random.Random(f"{seed}-process-killer"), Counter[str](), KillStats()
    with running_chaos_portal(env, killable=("worker", "reaper"), REAPER_SECONDS="5") as portal:
        stopped, statuses = threading.Event(), Counter[int]()
        users = [
            threading.Thread(target=simulate_user, args=[portal, f"{seed}-{n}", stopped, statuses])
            for n in range(USERS)
        ]
        for user in users:
            user.start()
        try:
            while killed.total() < kills:
                time.sleep(rng.uniform(0.1, MAX_PAUSE_SECONDS))
                killed[kill_one(portal, rng)] += 1
        finally:
            stopped.set()
            for user in users:
                user.join()
        assert portal.api_client("afterwards").get(SANDBOXES).status == 200
        portal.kill("reaper")
        time.sleep(leases.LEASE_DURATION.total_seconds() + 1)
        swept = portal.sweep()
        wait_for(lambda: not has_unfinished_work(), "no work is left for workers", 60, 0.2)
        count_stuck(env, stats)
    return {
        "kills": dict(killed),
        "stuck": {name: stats.stuck[name] for name in (*OBJECT_KINDS, "ports", "rows")},
        "errors": [*stats.errors, *swept.stderr.splitlines()],
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "sandboxes": Sandbox.objects.count(),
    }


def kill_one(portal: ChaosPortal, rng: random.Random) -> str:
    """Kill a random process, restart it, and return its name."""
    victim = rng.choice(("worker", "worker", "reaper", "web"))
    if victim == "web":
        wait_for(lambda: portal.kill_web_worker(rng.randrange(8)), "there is a web worker", 30)
    else:
        portal.kill(victim)
        portal.start(victim)
    return victim


def simulate_user(
    portal: ChaosPortal, seed: str, stopped: threading.Event, statuses: Counter[int]
) -> None:
    """Send random requests until stopped; count them by status, with 0 for no response."""
    rng, client, sandboxes = random.Random(seed), portal.api_client(seed), list[str]()
    while not stopped.is_set():
        try:
            statuses[send_request(client, rng.choice(ACTIONS), sandboxes)] += 1
        except (OSError, HTTPException):
            statuses[0] += 1
        stopped.wait(rng.uniform(0.1, 1.0))


def send_request(client: HttpClient, action: str, sandboxes: list[str]) -> int:
    """Return the status of the response."""
    if action == "launch" and len(sandboxes) < MAX_PER_USER:
        response = client("POST", SANDBOXES, {})
        if response.status == 201:
            sandboxes.append(response.json()["id"])
        return response.status
    if action == "destroy" and sandboxes:
        return client("DELETE", f"{SANDBOXES}/{sandboxes.pop(0)}").status
    if action == "reset" and sandboxes:
        return client("POST", f"{SANDBOXES}/{sandboxes[-1]}/reset", {}).status
    return client.get(SANDBOXES).status
