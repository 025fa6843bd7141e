"""Workers, reapers and web processes of a whole portal die at any moment while people use it."""

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
from tests.chaos.environment import KINDS, World
from tests.chaos.kills import Tally, count_stuck
from tests.chaos.portal_process import SANDBOXES, Staged, staged
from tests.chaos.scenarios import waiting
from tests.waiting import until

PEOPLE = 3
EACH_HAS = 2
LONGEST_PAUSE_SECONDS = 2.0
WISHES = ("launch", "launch", "destroy", "reset", "look")


def run(world: World, kills: int, seed: str) -> dict[str, Any]:
    """So many processes are killed; then the portal is swept, once."""
    chance, killed, tally = random.Random(f"{seed}-crew"), Counter[str](), Tally()
    with staged(world, crew=("worker", "reaper"), REAPER_SECONDS="5") as portal:
        over, statuses = threading.Event(), Counter[int]()
        people = [
            threading.Thread(target=use, args=[portal, f"{seed}-{n}", over, statuses])
            for n in range(PEOPLE)
        ]
        for person in people:
            person.start()
        try:
            while killed.total() < kills:
                time.sleep(chance.uniform(0.1, LONGEST_PAUSE_SECONDS))
                killed[kill_one(portal, chance)] += 1
        finally:
            over.set()
            for person in people:
                person.join()
        assert portal.person("afterwards").get(SANDBOXES).status == 200
        portal.kill("reaper")
        time.sleep(leases.LEASE.total_seconds() + 1)
        swept = portal.sweep()
        until(lambda: not waiting(), "nothing waits for a worker", 60, 0.2)
        count_stuck(world, tally)
    return {
        "kills": dict(killed),
        "stuck": {name: tally.stuck[name] for name in (*KINDS, "ports", "rows")},
        "complaints": [*tally.complaints, *swept.stderr.splitlines()],
        "answers": {str(status): count for status, count in sorted(statuses.items())},
        "sandboxes": Sandbox.objects.count(),
    }


def kill_one(portal: Staged, chance: random.Random) -> str:
    """Which it was; it is started again at once."""
    victim = chance.choice(("worker", "worker", "reaper", "web"))
    if victim == "web":
        until(lambda: portal.kill_a_web_worker(chance.randrange(8)), "there is a web worker", 30)
    else:
        portal.kill(victim)
        portal.start(victim)
    return victim


def use(portal: Staged, seed: str, over: threading.Event, statuses: Counter[int]) -> None:
    """A person asks for this and that until it is over."""
    chance, person, mine = random.Random(seed), portal.person(seed), list[str]()
    while not over.is_set():
        try:
            statuses[ask(person, chance.choice(WISHES), mine)] += 1
        except (OSError, HTTPException):
            statuses[0] += 1
        over.wait(chance.uniform(0.1, 1.0))


def ask(person: HttpClient, wish: str, mine: list[str]) -> int:
    """The status of the answer."""
    if wish == "launch" and len(mine) < EACH_HAS:
        answer = person("POST", SANDBOXES, {})
        if answer.status == 201:
            mine.append(answer.json()["id"])
        return answer.status
    if wish == "destroy" and mine:
        return person("DELETE", f"{SANDBOXES}/{mine.pop(0)}").status
    if wish == "reset" and mine:
        return person("POST", f"{SANDBOXES}/{mine[-1]}/reset", {}).status
    return person.get(SANDBOXES).status
