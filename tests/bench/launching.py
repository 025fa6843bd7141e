"""Launches through the portal: cold ones compared with a baseline, parallel ones, warm ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from tests.bench.environment import SANDBOXES, PortalEnvironment, destroy, launch
from tests.bench.http_client import HttpClient
from tests.helpers.wait import wait_for

REFILL_SECONDS = 60
PAUSE_SECONDS = 0.2
"""Between two claims of one batch, so that the pool is being refilled meanwhile."""


Row = dict[str, float]


def interleaved(
    methods: Mapping[str, Callable[[], Row]], rounds: int, every: Mapping[str, int]
) -> dict[str, dict[str, list[float]]]:
    """Run each method once a round, so that drift of the machine affects all of them.

    `every` says for some methods to run only in every n-th round.
    """
    rows: dict[str, list[Row]] = {name: [] for name in methods}
    for number in range(rounds):
        for name, once in methods.items():
            if number % every.get(name, 1) == 0:
                rows[name].append(once())
    return {name: columns(measured) for name, measured in rows.items()}


def cold(env: PortalEnvironment) -> Row:
    """Return the seconds of a launch until the sandbox runs, of its steps, and of its removal."""
    client = env.developer()
    response, sandbox = launch(client)
    steps = {f"step {step['name']}": step["seconds"] for step in sandbox["steps"]}
    began = time.perf_counter()
    destroy(env, client, sandbox)
    return {"seconds": response.seconds, "destroy": time.perf_counter() - began} | steps


def columns(rows: list[Row]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def rates(env: PortalEnvironment, batches: dict[int, int]) -> list[dict[str, Any]]:
    """Measure launch rates at several levels of concurrency, each client with its own developer.

    `batches` maps the concurrency to the number of launches.
    """
    return [_rate(env, concurrency, launches) for concurrency, launches in batches.items()]


def _rate(env: PortalEnvironment, concurrency: int, launches: int) -> dict[str, Any]:
    clients = [env.developer(number) for number in range(concurrency)]
    tickets, launched = count(), []

    def keep_launching(number: int) -> None:
        while next(tickets) < launches:
            response, sandbox = launch(clients[number])
            launched.append((number, response.seconds, sandbox))

    began = time.perf_counter()
    run_parallel(keep_launching, concurrency)
    elapsed = time.perf_counter() - began
    for number, _, sandbox in launched:
        clients[number]("DELETE", f"{SANDBOXES}/{sandbox['id']}")
    wait_for(lambda: not env.count("running") + env.count("destroying"), "all are removed")
    seconds = [taken for _, taken, _ in launched]
    return {"concurrency": concurrency, "elapsed": elapsed, "seconds": seconds}


def run_parallel(function: Any, times: int, concurrency: int = 0) -> list[Any]:
    """Call the function with each number below `times`. Raises the first exception."""
    with ThreadPoolExecutor(concurrency or times) as pool:
        return list(pool.map(function, range(times)))


def warm(env: PortalEnvironment, pool: int, idle: int, refilling: int) -> dict[str, Any]:
    """Measure launches from the warm pool.

    `idle` launches find a full pool and an idle portal; `refilling` launches come in batches of the
    pool's size, while the portal replaces the sandboxes that were claimed before.
    """
    try:
        wait_for(lambda: env.count("pooled") >= pool, "the pool is full", REFILL_SECONDS, 0.1)
    except TimeoutError:
        return {"unavailable": "The pool did not fill up."}
    measured = {
        "idle": _claim(env, pool, idle, 1),
        "refilling": _claim(env, pool, refilling, pool),
    }
    return measured | {"pool_size": pool}


def _claim(env: PortalEnvironment, pool: int, times: int, batch: int) -> dict[str, Any]:
    """Claim in batches; each starts with a full pool, after the last batch has been removed."""
    seconds: list[float] = []
    missed, client = 0, env.developer()
    while len(seconds) < times and missed <= times:
        claimed = []
        for number in range(min(batch, times - len(seconds))):
            time.sleep(PAUSE_SECONDS if number else 0)
            response, sandbox = launch(client, wait=False)
            claimed.append(sandbox["id"])
            if sandbox["state"] == "running":
                seconds.append(response.seconds)
            else:
                missed += 1
        _settle(env, client, claimed, pool)
    return {"seconds": seconds, "missed": missed}


def _settle(env: PortalEnvironment, client: HttpClient, claimed: list[str], pool: int) -> None:
    """Destroy the claimed sandboxes and wait until the pool is full and the portal idle."""
    busy = ("pending", "provisioning", "destroying")
    for name in claimed:
        client("DELETE", f"{SANDBOXES}/{name}")
    wait_for(
        lambda: env.count("pooled") >= pool and not sum(map(env.count, busy)),
        "the pool is full again",
        REFILL_SECONDS * 2,
        0.05,
    )
