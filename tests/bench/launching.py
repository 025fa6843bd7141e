"""Launches through the portal: cold beside the floor, several at once, and warm ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from tests.bench.environment import LAUNCH, Stage, destroy, launch
from tests.waiting import until

REFILL_SECONDS = 60
PACE_SECONDS = 0.2
"""Between two claims of one row, so that the pool is being filled again meanwhile."""


Row = dict[str, float]


def by_turns(
    ways: Mapping[str, Callable[[], Row]], turns: int, every: Mapping[str, int]
) -> dict[str, dict[str, list[float]]]:
    """Each way to a sandbox in each turn, or in every so-manieth: the machine's drift hits all."""
    rows: dict[str, list[Row]] = {name: [] for name in ways}
    for turn in range(turns):
        for name, once in ways.items():
            if turn % every.get(name, 1) == 0:
                rows[name].append(once())
    return {name: columns(found) for name, found in rows.items()}


def cold(stage: Stage) -> Row:
    """Seconds of a request that is answered once the sandbox runs, of its steps, of its removal."""
    caller = stage.developer()
    answer, sandbox = launch(caller)
    steps = {f"step {step['name']}": step["seconds"] for step in sandbox["steps"]}
    began = time.perf_counter()
    destroy(stage, caller, sandbox)
    return {"seconds": answer.seconds, "destroy": time.perf_counter() - began} | steps


def columns(rows: list[Row]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def rates(stage: Stage, batches: dict[int, int]) -> list[dict[str, Any]]:
    """Launches a minute with so many asked for at once, each by another developer.

    `batches` says how many are launched in all for each number at once.
    """
    return [_rate(stage, at_once, launches) for at_once, launches in batches.items()]


def _rate(stage: Stage, at_once: int, launches: int) -> dict[str, Any]:
    callers = [stage.developer(number) for number in range(at_once)]
    tickets, made = count(), []

    def keep_asking(number: int) -> None:
        while next(tickets) < launches:
            answer, sandbox = launch(callers[number])
            made.append((number, answer.seconds, sandbox))

    began = time.perf_counter()
    side_by_side(keep_asking, at_once)
    elapsed = time.perf_counter() - began
    for number, _, sandbox in made:
        callers[number]("DELETE", f"{LAUNCH}/{sandbox['id']}")
    until(lambda: not stage.count("running") + stage.count("destroying"), "all are removed")
    return {"at_once": at_once, "elapsed": elapsed, "seconds": [taken for _, taken, _ in made]}


def side_by_side(act: Any, times: int, at_once: int = 0) -> list[Any]:
    """Do it so many times, each with its number; raises the first failure."""
    with ThreadPoolExecutor(at_once or times) as pool:
        return list(pool.map(act, range(times)))


def warm(stage: Stage, pool: int, quiet: int, busy: int) -> dict[str, Any]:
    """Launches that find a sandbox warm: with a full pool and nothing else going on, and in rows
    of `pool`, while what was taken before is being replaced."""
    try:
        until(lambda: stage.count("pooled") >= pool, "the pool is full", REFILL_SECONDS, 0.1)
    except TimeoutError:
        return {"absent": "no warm pool here"}
    found = {"quiet": _in_rows(stage, pool, quiet, 1), "busy": _in_rows(stage, pool, busy, pool)}
    return found | {"pool": pool}


def _in_rows(stage: Stage, pool: int, times: int, row: int) -> dict[str, Any]:
    """Claims in rows of so many, each row once the pool is full and the last one's are gone."""
    seconds: list[float] = []
    missed, caller = 0, stage.developer()
    while len(seconds) < times and missed <= times:
        taken = []
        for number in range(min(row, times - len(seconds))):
            time.sleep(PACE_SECONDS if number else 0)
            answer, sandbox = launch(caller, wait=False)
            taken.append(sandbox["id"])
            if sandbox["state"] == "running":
                seconds.append(answer.seconds)
            else:
                missed += 1
        _settle(stage, caller, taken, pool)
    return {"seconds": seconds, "missed": missed}


def _settle(stage: Stage, caller: Any, taken: list[str], pool: int) -> None:
    """Give back what was taken, and wait until all is as before."""
    busy = ("pending", "provisioning", "destroying")
    for name in taken:
        caller("DELETE", f"{LAUNCH}/{name}")
    until(
        lambda: stage.count("pooled") >= pool and not sum(map(stage.count, busy)),
        "the pool is full again",
        REFILL_SECONDS * 2,
        0.05,
    )
