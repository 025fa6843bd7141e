"""Many sandboxes at once: memory of each, whether all respond with their seed, sweeps, expiry."""

from __future__ import annotations

import time
from typing import Any

from sandboxes.blueprints import folders
from sandboxes.runtime.docker.names import INSTANCE
from tests.bench import memory
from tests.bench.environment import PortalEnvironment, billing, call_in_portal, launch
from tests.bench.launching import run_parallel
from tests.bench.machine import meminfo
from tests.fakes.docker_proxy import run_docker_proxy

CONCURRENCY = 8
SETTLE_SECONDS = 6
"""After this time a launched sandbox has finished its start-up work."""


def density(env: PortalEnvironment, few: int, many: int, sweeps: int) -> dict[str, Any]:
    """Launch a few sandboxes, then many; measure the memory of each and sweeps over all."""
    before = meminfo("MemAvailable")
    began = time.perf_counter()
    launched = _launch(env, 0, few)
    elapsed = time.perf_counter() - began
    available = {str(few): _mb_per_sandbox(before, few)}
    swept = [sweep(env, few, sweeps)]
    began = time.perf_counter()
    launched += _launch(env, few, many)
    elapsed += time.perf_counter() - began
    available[str(many)] = _mb_per_sandbox(before, many)
    sizes = memory.of_sandboxes(env.engine, env.portal.instance)
    return {
        "count": many,
        "elapsed": elapsed,
        "available_mb_per_sandbox": available,
        "seeded": sum(run_parallel(lambda i: is_seeded(env, *launched[i]), many, CONCURRENCY)),
        "sweeps": [*swept, sweep(env, many, sweeps)],
    } | memory.columns(sizes)


def expiry(env: PortalEnvironment, count: int) -> dict[str, Any]:
    """Launch sandboxes until `count` run, let all of them be due at once, and sweep once."""
    _launch(env, 0, count - env.count("running"))
    due = call_in_portal(env.portal, "make_running_sandboxes_due")
    swept = call_in_portal(env.portal, "run_sweeps", 1, SANDBOX_SWEEP_MAX_EXPIRATIONS="0")
    label = f"{INSTANCE}={env.portal.instance}"
    return {
        "due": due,
        "seconds": swept["seconds"],
        "errors": swept["errors"],
        "left": len(env.engine.containers(all=True, filters={"label": label})),
    }


def _launch(env: PortalEnvironment, first: int, last: int) -> list[tuple[int, dict[str, Any]]]:
    def one(number: int) -> tuple[int, dict[str, Any]]:
        return first + number, launch(env.developer(first + number))[1]

    return run_parallel(one, last - first, CONCURRENCY)


def _mb_per_sandbox(before: float, count: int) -> float:
    """Return by how many MB per sandbox the machine's available memory has shrunk."""
    time.sleep(SETTLE_SECONDS)
    return (before - meminfo("MemAvailable")) / count


def is_seeded(env: PortalEnvironment, number: int, sandbox: dict[str, Any]) -> bool:
    """Return whether the sandbox's API has as many rows of each kind as the seed."""
    api = billing(env.developer(number), sandbox)
    seed = folders.valid()["billing"].seed
    return {name: api.get(f"/v1/{name}").json()["total"] for name in seed} == seed


def sweep(env: PortalEnvironment, live: int, times: int) -> dict[str, Any]:
    """Return the seconds of each of `times` sweeps, and the engine calls of one more."""
    swept = call_in_portal(env.portal, "run_sweeps", times)
    path = env.portal.var / "engine.sock"
    with run_docker_proxy(path) as proxy:
        call_in_portal(env.portal, "run_sweeps", 1, DOCKER_HOST=f"unix://{path}")
    return swept | {"live": live, "calls": proxy.calls}
