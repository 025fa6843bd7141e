"""`python -m tests.chaos [--kills N] [--seed SEED] [--short]`: all ordeals, and their page."""

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
from tests.tiny_image import imported_image
from tests.tools.reliability_report import measured_on, publish, summary_lines

LONGEST_SECONDS = 1200
UNDER_WAY: set[subprocess.Popen[str]] = set()
STOPPED = threading.Event()


@dataclass(frozen=True)
class Ordeal:
    """One line of the plan: what it is called, the module that knows it, and what it is told."""

    name: str
    module: str
    told: dict[str, Any]


def everything(kills: int, seed: str) -> list[list[list[Ordeal]]]:
    """Stages one after the other; in each, lanes side by side; in each lane, ordeals in turn."""
    crew = max(1, kills // 10)
    each = (kills - crew) // 2
    crowd = {"rounds": 20, "at_once": 50, "due": 100, "sweeps": 10, "twice": 20}
    on_postgres = {"store": "postgres"}
    first = {"kills": kills - crew - each, "seed": seed, "share": [0, 2]}
    second = {"kills": each, "seed": seed, "share": [1, 2]} | on_postgres
    restart = {"which": "engine", "own_engine": True}
    return [
        [
            [Ordeal("kills on sqlite", "kills", first)],
            [Ordeal("kills on postgres", "kills", second)],
        ],
        [
            [Ordeal("crowds on sqlite", "concurrency", crowd)],
            [Ordeal("crowds on postgres", "concurrency", crowd | on_postgres)],
        ],
        [[Ordeal("crew", "process_killer", {"kills": crew, "seed": seed} | on_postgres)]],
        [
            [Ordeal("hung", "outages", {"which": "hung", "seconds": 60})],
            [Ordeal("due", "outages", {"which": "due", "count": 12})],
        ],
        [
            [
                Ordeal("engine restarted", "outages", restart | {"crash": False}),
                Ordeal("engine crashed", "outages", restart | {"crash": True}),
            ],
            [
                Ordeal("database restarted", "outages", {"which": "database"} | on_postgres),
                Ordeal("queue emptied", "outages", {"which": "queue"}),
                Ordeal("redis emptied", "outages", {"which": "broker"}),
            ],
        ],
    ]


def a_look(seed: str) -> list[list[list[Ordeal]]]:
    """What `make test` has time for."""
    crowd = {"rounds": 0, "at_once": 0, "due": 6, "sweeps": 4, "twice": 1}
    return [
        [
            [
                Ordeal("kills on sqlite", "kills", {"kills": 6, "seed": seed}),
                Ordeal("crowds on sqlite", "concurrency", crowd),
            ],
            [Ordeal("hung", "outages", {"which": "hung", "seconds": 12})],
        ]
    ]


def carry_out(stages: list[list[list[Ordeal]]]) -> dict[str, Any]:
    """What every ordeal found, by its name."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, imported_image(Path(folder)) as image:
        for lanes in stages:
            with ThreadPoolExecutor(len(lanes)) as threads:
                for lane in threads.map(lambda lane: run_lane(lane, image), lanes):
                    found |= lane
    return found


def run_lane(lane: Sequence[Ordeal], image: str) -> dict[str, Any]:
    return {ordeal.name: undergo(ordeal, image) for ordeal in lane if not STOPPED.is_set()}


def undergo(ordeal: Ordeal, image: str) -> dict[str, Any]:
    """In a process of its own; `failed` says why it found nothing."""
    say(f"▸ {ordeal.name}")
    began = time.monotonic()
    arguments = json.dumps({"image": image} | ordeal.told)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.experiment", ordeal.module, arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, timer(process):
        said, complained = process.communicate()
    say(f"  {ordeal.name}: {time.monotonic() - began:.0f} s")
    if process.returncode:
        say(complained)
        return {"failed": (complained.strip().splitlines() or ["it said nothing"])[-1]}
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


@contextmanager
def timer(process: subprocess.Popen[str]) -> Iterator[None]:
    """An ordeal that takes too long is told to stop, and removes what it made."""
    over = threading.Timer(LONGEST_SECONDS, process.terminate)
    over.start()
    UNDER_WAY.add(process)
    try:
        yield
    finally:
        UNDER_WAY.discard(process)
        over.cancel()
        if process.poll() is None:
            process.terminate()


def stop(number: int, _: object) -> None:
    """Whoever ends this ends the ordeals, which remove what they made."""
    STOPPED.set()
    for process in list(UNDER_WAY):
        process.terminate()
    sys.exit(128 + number)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--kills", type=int, default=200, help="how many processes are killed")
    parser.add_argument("--seed", default="1", help="the schedule follows from it")
    parser.add_argument(
        "--short", action="store_true", help="under a minute; prints, writes nothing"
    )
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    if chosen.short:
        print(json.dumps(carry_out(a_look(chosen.seed))))
        return 0
    command, facts = f"make chaos N={chosen.kills} SEED={chosen.seed}", measured_on()
    found = carry_out(everything(chosen.kills, chosen.seed))
    # Kept as it is, should it not fit the page.
    Path(os.environ.get("BENCH_DIR", "."), "found.json").write_text(json.dumps(found))
    report = replace(acceptance.report(command, found), measured_on=facts)
    publish("chaos", report)
    print(*summary_lines(report), sep="\n")
    return 0 if all(result.met for result in report.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
