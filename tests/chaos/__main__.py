"""`python -m tests.chaos [--kills N] [--seed SEED] [--short]`: run all fault experiments."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from tests.bench.machine import ROOT
from tests.chaos import acceptance
from tests.harness.busybox_image import import_busybox_image
from tests.tools.reliability_report import measured_on, publish, summary_lines

TIMEOUT_SECONDS = 1200
DISK_MB = 64
RUNNING: set[subprocess.Popen[str]] = set()
STOPPED = threading.Event()


@dataclass(frozen=True)
class Experiment:
    """An experiment of the plan: its name, its module, and the arguments of `run`."""

    name: str
    module: str
    arguments: dict[str, Any]


Plan = list[list[list[Experiment]]]
"""Phases run one after the other, the lanes of a phase in parallel, the experiments of a lane in
order."""


def full_plan(kills: int, seed: str) -> Plan:
    process_kills = max(1, kills // 10)
    half = (kills - process_kills) // 2
    concurrency = {
        "rounds": 20,
        "parallel_launches": 50,
        "due": 100,
        "sweeps": 10,
        "duplicates": 20,
    }
    on_postgres = {"store": "postgres"}
    first = {"kills": kills - process_kills - half, "seed": seed, "share": [0, 2]}
    second = {"kills": half, "seed": seed, "share": [1, 2]} | on_postgres
    restart = {"outage": "engine", "own_engine": True}
    return [
        [
            [Experiment("kills on sqlite", "kills", first)],
            [Experiment("kills on postgres", "kills", second)],
        ],
        [
            [Experiment("concurrency on sqlite", "concurrency", concurrency)],
            [Experiment("concurrency on postgres", "concurrency", concurrency | on_postgres)],
        ],
        [
            [
                Experiment(
                    "process kills",
                    "process_killer",
                    {"kills": process_kills, "seed": seed} | on_postgres,
                )
            ]
        ],
        [
            [Experiment("engine hangs", "outages", {"outage": "engine_hangs", "seconds": 60})],
            [Experiment("due sandboxes", "outages", {"outage": "due_sandboxes", "count": 12})],
        ],
        [
            [
                Experiment("engine restarted", "outages", restart | {"crash": False}),
                Experiment("engine crashed", "outages", restart | {"crash": True}),
            ],
            [
                Experiment("database restarted", "outages", {"outage": "database"} | on_postgres),
                Experiment("queue emptied", "outages", {"outage": "queue"}),
                Experiment("redis emptied", "outages", {"outage": "broker"}),
            ],
        ],
        [
            [
                Experiment("sandboxes broken", "faults", {"fault": "broken_sandboxes"}),
                Experiment("clock set back", "faults", {"fault": "clock_set_back"}),
            ],
            [
                Experiment("disk full", "faults", {"fault": "disk_full", "disk_mb": DISK_MB}),
                Experiment("files unreadable", "faults", {"fault": "unreadable_files"}),
                Experiment("redis hangs", "faults", {"fault": "redis_hangs"}),
            ],
        ],
        [[Experiment("bombs", "bombs", {})]],
    ]


def short_plan(seed: str) -> Plan:
    """Return a plan that is short enough for the test suite."""
    concurrency = {"rounds": 0, "parallel_launches": 0, "due": 6, "sweeps": 4, "duplicates": 1}
    return [
        [
            [
                Experiment("kills on sqlite", "kills", {"kills": 6, "seed": seed}),
                Experiment("concurrency on sqlite", "concurrency", concurrency),
            ],
            [Experiment("engine hangs", "outages", {"outage": "engine_hangs", "seconds": 12})],
        ]
    ]


def run_plan(plan: Plan) -> dict[str, Any]:
    """Return the results of every experiment by its name."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, import_busybox_image(Path(folder)) as image:
        for lanes in plan:
            with ThreadPoolExecutor(len(lanes)) as threads:
                for lane in threads.map(lambda lane: run_lane(lane, image), lanes):
                    results |= lane
    return results


def run_lane(lane: Sequence[Experiment], image: str) -> dict[str, Any]:
    return {
        experiment.name: run_experiment(experiment, image)
        for experiment in lane
        if not STOPPED.is_set()
    }


def run_experiment(experiment: Experiment, image: str) -> dict[str, Any]:
    """Run it in a process of its own. If it fails, the only result is `failed`, with the cause."""
    log(f"▸ {experiment.name}")
    began = time.monotonic()
    arguments = json.dumps({"image": image} | experiment.arguments)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.experiment", experiment.module, arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, time_limit(process):
        output, errors = process.communicate()
    log(f"  {experiment.name}: {time.monotonic() - began:.0f} s")
    if process.returncode:
        log(errors)
        return {"failed": (errors.strip().splitlines() or ["no error message"])[-1]}
    results: dict[str, Any] = json.loads(output.splitlines()[-1])
    return results


@contextmanager
def time_limit(process: subprocess.Popen[str]) -> Iterator[None]:
    """Terminate the experiment when it takes too long, so that it can still clean up."""
    timer = threading.Timer(TIMEOUT_SECONDS, process.terminate)
    timer.start()
    RUNNING.add(process)
    try:
        yield
    finally:
        RUNNING.discard(process)
        timer.cancel()
        if process.poll() is None:
            process.terminate()


def stop(number: int, _: object) -> None:
    """Terminate the running experiments, which clean up, and exit."""
    STOPPED.set()
    for process in list(RUNNING):
        process.terminate()
    sys.exit(128 + number)


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--kills", type=int, default=200, help="number of processes to kill")
    parser.add_argument("--seed", default="1", help="seed of the fault schedule")
    parser.add_argument(
        "--short",
        action="store_true",
        help="run for under a minute, print the results as JSON and write nothing",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    if options.short:
        print(json.dumps(run_plan(short_plan(options.seed))))
        return 0
    command, facts = f"make chaos N={options.kills} SEED={options.seed}", measured_on()
    results = run_plan(full_plan(options.kills, options.seed))
    # Keep the raw results in case the report can't be written.
    Path(os.environ.get("BENCH_DIR", "."), "results.json").write_text(json.dumps(results))
    report = replace(acceptance.report(command, results), measured_on=facts)
    publish("chaos", report)
    print(*summary_lines(report), sep="\n")
    return 0 if all(result.met for result in report.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
