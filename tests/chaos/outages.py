"""What the portal stands on goes away for a while: the engine, the database, the queue.

Each ordeal tells how long it took from when that was back until everything was as it should be.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import chain, cycle
from typing import Any

from django.utils import timezone

from sandboxes.models import Sandbox
from tests.bench.http_client import HttpClient, HttpResponse
from tests.chaos.environment import World
from tests.chaos.portal_process import SANDBOXES, answers, seconds_until, staged
from tests.chaos.scenarios import waiting
from tests.redis_server import redis
from tests.waiting import until

CREW = ("web", "worker", "reaper")
SWEPT_EVERY = "5"
FEW = 3
AWAY_SECONDS = 3
MINUTE = 60
BACK_OFF_SECONDS = 6
"""After a call that was not answered, a worker leaves the sandbox alone for 5 s."""
PAUSE_SECONDS = 0.2


def run(world: World, which: str, **chosen: Any) -> dict[str, Any]:
    found: dict[str, Any] = ORDEALS[which](world, **chosen)
    return found


def hung(world: World, seconds: float) -> dict[str, Any]:
    """The engine answers nothing for so long, and people go on as if nothing were."""
    with staged(world, ("web", "worker")) as portal:
        alice = portal.person("alice")
        kept, doomed, again = (one["id"] for one in portal.launch(alice, FEW))
        world.proxy.pause()
        try:
            with ThreadPoolExecutor() as thread:
                sweep = thread.submit(portal.sweep)
                asked = busy(alice, wishes(kept, doomed, again), seconds)
                meanwhile = sweep.result()
            wanted = standing()
        finally:
            world.proxy.resume()
        time.sleep(BACK_OFF_SECONDS)
        after = portal.sweep()
        took = seconds_until(lambda: not waiting(), "nothing waits for a worker", 60)
        until(lambda: set(world.held()) <= wanted, "what has ended is gone", 60, 0.2)
        return {
            "requests": len(asked),
            "slowest": max(asked, key=lambda one: one[1]),
            "spoilt": [what for what, _, status in asked if is_failure(what, status)],
            "sweep_meanwhile": [meanwhile.returncode, meanwhile.stderr.strip()],
            "sweep_after": [after.returncode, after.stderr.strip()],
            "launched_meanwhile": len(wanted) - FEW + 1,
            "lost": len(wanted - running()),
            "seconds": round(BACK_OFF_SECONDS + took, 1),
        }


def is_failure(what: str, status: int) -> bool:
    """Two say that the engine does not answer: that is what they are asked."""
    return status >= 500 and not what.endswith(("readyz", "logs"))


def busy(
    person: HttpClient, wished: Iterator[tuple[str, str]], seconds: float
) -> list[tuple[str, float, int]]:
    """What was asked for in so many seconds, how long the answer took, and its status."""
    found, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        method, path = next(wished)
        answer: HttpResponse = person(method, path, {} if method == "POST" else None)
        what = f"{method} {re.sub('sbx_[a-z0-9]+', '…', path).partition('?')[0]}"
        found.append((what, round(answer.seconds, 3), answer.status))
        time.sleep(PAUSE_SECONDS)
    return found


def wishes(kept: str, doomed: str, again: str) -> Iterator[tuple[str, str]]:
    """Two launches, an end and a reset, and then looks, over and over."""
    once = [
        ("POST", SANDBOXES),
        ("DELETE", f"{SANDBOXES}/{doomed}"),
        ("POST", f"{SANDBOXES}/{again}/reset"),
        ("POST", SANDBOXES),
    ]
    looks = [
        ("GET", SANDBOXES),
        ("GET", f"{SANDBOXES}/{kept}"),
        ("GET", f"{SANDBOXES}/{kept}/events"),
        ("GET", f"{SANDBOXES}/{kept}/usage"),
        ("GET", f"{SANDBOXES}/{kept}/logs?service=web"),
        ("GET", "/api/v1/limits"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("POST", f"{SANDBOXES}/{kept}/touch"),
    ]
    return chain(once, cycle(looks))


def engine(world: World, crash: bool) -> dict[str, Any]:
    """The engine is restarted, as by its service or after the host lost its power."""
    assert world.daemon
    with staged(world, CREW, REAPER_SECONDS=SWEPT_EVERY) as portal:
        alice = portal.person("alice")
        kept = {one["id"] for one in portal.launch(alice, FEW)}
        world.daemon.stop(signal.SIGKILL if crash else signal.SIGTERM)
        meanwhile = alice("POST", SANDBOXES, {}).json()["id"]
        time.sleep(AWAY_SECONDS)
        world.daemon.start()
        took = seconds_until(lambda: portal.running(FEW + 1) and all_answer(), "all answer")
        return {"seconds": took, "lost": len((kept | {meanwhile}) - running())}


def database(world: World) -> dict[str, Any]:
    """The database is stopped in the middle of everything, and started again."""
    assert world.cluster
    with staged(world, CREW, REAPER_SECONDS=SWEPT_EVERY) as portal:
        alice = portal.person("alice")
        kept = [one["id"] for one in portal.launch(alice, 1)]
        # No worker has done these when the database goes away.
        kept += [alice("POST", SANDBOXES, {}).json()["id"] for _ in range(FEW)]
        world.cluster.stop()
        statuses = {alice.get(path).status for path in (SANDBOXES, "/readyz", "/healthz")}
        time.sleep(AWAY_SECONDS)
        world.cluster.start()
        answers = seconds_until(lambda: alice.get(SANDBOXES).status == 200, "a list is answered")
        took = seconds_until(lambda: portal.running(FEW + 1) and all_answer(), "all answer")
        return {
            "seconds": round(answers + took, 1),
            "statuses": sorted(statuses),
            "lost": len(set(kept) - running()),
        }


def queue(world: World) -> dict[str, Any]:
    """All messages of the embedded queue vanish before any worker has seen them."""
    with staged(world, ("web", "reaper"), REAPER_SECONDS=SWEPT_EVERY) as portal:
        alice = portal.person("alice")
        for _ in range(FEW):
            alice("POST", SANDBOXES, {})
        messages = list((world.var / "queue" / "celery").iterdir())
        for message in messages:
            message.unlink()
        portal.start("worker")
        took = seconds_until(lambda: portal.running(FEW), "all run")
        return {"messages": len(messages), "seconds": took, "lost": 0}


def broker(world: World) -> dict[str, Any]:
    """Redis is emptied while messages wait in it, and then restarted under a worker."""
    with redis(world.var) as server:
        settings = {"CELERY_BROKER_URL": server.url, "REAPER_SECONDS": SWEPT_EVERY}
        with staged(world, ("web", "reaper"), **settings) as portal:
            alice = portal.person("alice")
            for _ in range(FEW):
                alice("POST", SANDBOXES, {})
            messages = server.flush()
            portal.start("worker")
            emptied = seconds_until(lambda: portal.running(FEW), "all run")
            server.stop()
            status = alice("POST", SANDBOXES, {}).status
            time.sleep(AWAY_SECONDS)
            server.start()
            took = seconds_until(lambda: portal.running(FEW + 1), "all run")
            found = {"messages": messages, "emptied_seconds": emptied, "status_meanwhile": status}
            return found | {"seconds": took, "lost": 0}


def due(world: World, count: int) -> dict[str, Any]:
    """Sandboxes become due all through a minute, and cron sweeps each minute."""
    with staged(world, ("web", "worker")) as portal:
        alice = portal.person("alice")
        portal.launch(alice, count)
        start = timezone.now() + timedelta(seconds=5)
        for number, row in enumerate(Sandbox.objects.running()):
            at = start + timedelta(seconds=number * MINUTE / count)
            Sandbox.objects.filter(pk=row.pk).update(expires_at=at)
        ends = time.monotonic() + 2 * MINUTE + 5
        while time.monotonic() < ends and Sandbox.objects.live().exists():
            began = time.monotonic()
            portal.sweep()
            time.sleep(max(0, min(MINUTE, ends - began) - (time.monotonic() - began)))
        gone = Sandbox.objects.ended()
        late = [(row.ended_at - row.expires_at).total_seconds() for row in gone]  # type: ignore[operator]
        return {"due": count, "gone": len(late), "seconds": sorted(round(s, 1) for s in late)}


def running() -> set[str]:
    return set(Sandbox.objects.running().values_list("public_id", flat=True))


def standing() -> set[str]:
    return set(Sandbox.objects.standing().values_list("public_id", flat=True))


def all_answer() -> bool:
    """Whether every sandbox that is said to run does."""
    rows = Sandbox.objects.running()
    return all(answers(address) for row in rows for address in row.addresses.values())


ORDEALS: dict[str, Callable[..., dict[str, Any]]] = {
    act.__name__: act for act in (broker, database, due, engine, hung, queue)
}
