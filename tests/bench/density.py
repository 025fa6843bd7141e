"""Many at once: launched, measured, asked for their seed, and swept."""

from __future__ import annotations

import time
from typing import Any

from sandboxes import blueprints
from tests.bench import memory
from tests.bench.environment import Stage, billing, inside, launch
from tests.bench.launching import side_by_side
from tests.bench.machine import meminfo
from tests.relay import run_docker_proxy

AT_ONCE = 8
SETTLE_SECONDS = 6
"""What a sandbox does after its launch is over then."""


def crowd(stage: Stage, few: int, many: int, sweeps: int) -> dict[str, Any]:
    """First a few, then many sandboxes: what each takes, and what a sweep takes over all."""
    before = meminfo("MemAvailable")
    began = time.perf_counter()
    made = _launch(stage, 0, few)
    elapsed = time.perf_counter() - began
    left = {str(few): _left(before, few)}
    swept = [sweep(stage, few, sweeps)]
    began = time.perf_counter()
    made += _launch(stage, few, many)
    elapsed += time.perf_counter() - began
    left[str(many)] = _left(before, many)
    sizes = memory.of_sandboxes(stage.engine, stage.portal.instance)
    return {
        "count": many,
        "elapsed": elapsed,
        "available_mb_each": left,
        "answered": sum(side_by_side(lambda i: seeded(stage, *made[i]), many, AT_ONCE)),
        "sweep": [*swept, sweep(stage, many, sweeps)],
    } | memory.each(sizes)


def _launch(stage: Stage, first: int, last: int) -> list[tuple[int, dict[str, Any]]]:
    def one(number: int) -> tuple[int, dict[str, Any]]:
        return first + number, launch(stage.developer(first + number))[1]

    return side_by_side(one, last - first, AT_ONCE)


def _left(before: float, count: int) -> float:
    """MB that each of so many took from what the machine has available."""
    time.sleep(SETTLE_SECONDS)
    return (before - meminfo("MemAvailable")) / count


def seeded(stage: Stage, number: int, sandbox: dict[str, Any]) -> bool:
    """Whether it answers with the seed's numbers of everything, by its own key."""
    api = billing(stage.developer(number), sandbox)
    wanted = blueprints.load("billing").seed
    return {name: api.get(f"/v1/{name}").json()["total"] for name in wanted} == wanted


def sweep(stage: Stage, live: int, times: int) -> dict[str, Any]:
    """Seconds of each of so many sweeps, and the engine calls of one."""
    swept = inside(stage.portal, "sweep", times)
    path = stage.portal.var / "engine.sock"
    with run_docker_proxy(path) as proxy:
        inside(stage.portal, "sweep", 1, DOCKER_HOST=f"unix://{path}")
    return swept | {"live": live, "calls": proxy.calls}
