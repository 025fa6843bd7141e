"""Outages of the portal's dependencies: the engine, the database, the queue.

Experiments measure the time from the end of the outage until everything has recovered.
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
from tests.bench.http_client import HttpClient
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.portal_process import SANDBOXES, responds, running_chaos_portal, seconds_until
from tests.chaos.scenarios import has_unfinished_work
from tests.harness.redis import redis
from tests.helpers.wait import wait_for

PROCESSES = ("web", "worker", "reaper")
SWEEP_INTERVAL = "5"
SANDBOX_COUNT = 3
OUTAGE_SECONDS = 3
MINUTE = 60
BACKOFF_SECONDS = 6
"""After a call without a response, a worker waits 5 s before it tries again."""
PAUSE_SECONDS = 0.2


def run(env: ChaosEnvironment, outage: str, **options: Any) -> dict[str, Any]:
    results: dict[str, Any] = OUTAGES[outage](env, **options)
    return results


def engine_hangs(env: ChaosEnvironment, seconds: float) -> dict[str, Any]:
    """Let the engine accept connections without responding, while a user sends requests."""
    with running_chaos_portal(env, ("web", "worker")) as portal:
        alice = portal.api_client("alice")
        ids = (sandbox["id"] for sandbox in portal.launch(alice, SANDBOX_COUNT))
        kept, destroyed, reset = ids
        env.proxy.pause()
        try:
            with ThreadPoolExecutor() as thread:
                sweep = thread.submit(portal.sweep)
                sent = send_requests(alice, requests(kept, destroyed, reset), seconds)
                during_hang = sweep.result()
            expected = not_ending()
        finally:
            env.proxy.resume()
        time.sleep(BACKOFF_SECONDS)
        after_hang = portal.sweep()
        recovery = seconds_until(
            lambda: not has_unfinished_work(), "no work is left for workers", 60
        )
        wait_for(lambda: set(env.objects()) <= expected, "ended sandboxes are removed", 60, 0.2)
        return {
            "requests": len(sent),
            "slowest": max(sent, key=lambda request: request[1]),
            "failed_requests": [name for name, _, status in sent if is_failure(name, status)],
            "sweep_during_hang": [during_hang.returncode, during_hang.stderr.strip()],
            "sweep_after_hang": [after_hang.returncode, after_hang.stderr.strip()],
            "launched_during_hang": len(expected) - SANDBOX_COUNT + 1,
            "lost": len(expected - running()),
            "seconds": round(BACKOFF_SECONDS + recovery, 1),
        }


def is_failure(name: str, status: int) -> bool:
    """Return whether a request failed. Readiness and logs correctly report the engine's outage."""
    return status >= 500 and not name.endswith(("readyz", "logs"))


def send_requests(
    client: HttpClient, planned: Iterator[tuple[str, str]], seconds: float
) -> list[tuple[str, float, int]]:
    """Send requests for this time; return their names, response times and statuses."""
    sent, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        method, path = next(planned)
        response = client(method, path, {} if method == "POST" else None)
        name = f"{method} {re.sub('sbx_[a-z0-9]+', '…', path).partition('?')[0]}"
        sent.append((name, round(response.seconds, 3), response.status))
        time.sleep(PAUSE_SECONDS)
    return sent


def requests(kept: str, destroyed: str, reset: str) -> Iterator[tuple[str, str]]:
    """Yield two launches, a destroy and a reset, and then reading requests without end."""
    once = [
        ("POST", SANDBOXES),
        ("DELETE", f"{SANDBOXES}/{destroyed}"),
        ("POST", f"{SANDBOXES}/{reset}/reset"),
        ("POST", SANDBOXES),
    ]
    repeated = [
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
    return chain(once, cycle(repeated))


def engine(env: ChaosEnvironment, crash: bool) -> dict[str, Any]:
    """Restart the engine, as its service manager does or as after a power failure."""
    assert env.daemon
    with running_chaos_portal(env, PROCESSES, REAPER_SECONDS=SWEEP_INTERVAL) as portal:
        alice = portal.api_client("alice")
        kept = {sandbox["id"] for sandbox in portal.launch(alice, SANDBOX_COUNT)}
        env.daemon.stop(signal.SIGKILL if crash else signal.SIGTERM)
        launched = alice("POST", SANDBOXES, {}).json()["id"]
        time.sleep(OUTAGE_SECONDS)
        env.daemon.start()
        recovery = seconds_until(
            lambda: portal.all_running(SANDBOX_COUNT + 1) and all_respond(), "all respond"
        )
        return {"seconds": recovery, "lost": len((kept | {launched}) - running())}


def database(env: ChaosEnvironment) -> dict[str, Any]:
    """Stop the database while it is used, and start it again."""
    assert env.cluster
    with running_chaos_portal(env, PROCESSES, REAPER_SECONDS=SWEEP_INTERVAL) as portal:
        alice = portal.api_client("alice")
        launched = [sandbox["id"] for sandbox in portal.launch(alice, 1)]
        # Workers haven't processed these launches yet when the database stops.
        launched += [alice("POST", SANDBOXES, {}).json()["id"] for _ in range(SANDBOX_COUNT)]
        env.cluster.stop()
        statuses = {alice.get(path).status for path in (SANDBOXES, "/readyz", "/healthz")}
        time.sleep(OUTAGE_SECONDS)
        env.cluster.start()
        listing = seconds_until(lambda: alice.get(SANDBOXES).status == 200, "lists are served")
        recovery = seconds_until(
            lambda: portal.all_running(SANDBOX_COUNT + 1) and all_respond(), "all respond"
        )
        return {
            "seconds": round(listing + recovery, 1),
            "statuses": sorted(statuses),
            "lost": len(set(launched) - running()),
        }


def queue(env: ChaosEnvironment) -> dict[str, Any]:
    """Delete all messages of the embedded queue before a worker has processed them."""
    with running_chaos_portal(env, ("web", "reaper"), REAPER_SECONDS=SWEEP_INTERVAL) as portal:
        alice = portal.api_client("alice")
        for _ in range(SANDBOX_COUNT):
            alice("POST", SANDBOXES, {})
        messages = list((env.var / "queue" / "celery").iterdir())
        for message in messages:
            message.unlink()
        portal.start("worker")
        recovery = seconds_until(lambda: portal.all_running(SANDBOX_COUNT), "all run")
        return {"messages": len(messages), "seconds": recovery, "lost": 0}


def broker(env: ChaosEnvironment) -> dict[str, Any]:
    """Flush Redis while messages wait in it, then restart it while a worker runs."""
    with redis(env.var) as server:
        settings = {"CELERY_BROKER_URL": server.url, "REAPER_SECONDS": SWEEP_INTERVAL}
        with running_chaos_portal(env, ("web", "reaper"), **settings) as portal:
            alice = portal.api_client("alice")
            for _ in range(SANDBOX_COUNT):
                alice("POST", SANDBOXES, {})
            messages = server.flush()
            portal.start("worker")
            after_flush = seconds_until(lambda: portal.all_running(SANDBOX_COUNT), "all run")
            server.stop()
            status = alice("POST", SANDBOXES, {}).status
            time.sleep(OUTAGE_SECONDS)
            server.start()
            recovery = seconds_until(lambda: portal.all_running(SANDBOX_COUNT + 1), "all run")
            return {
                "messages": messages,
                "seconds_after_flush": after_flush,
                "status_during_outage": status,
                "seconds": recovery,
                "lost": 0,
            }


def due_sandboxes(env: ChaosEnvironment, count: int) -> dict[str, Any]:
    """Let sandboxes expire at different times of a minute, and sweep every minute as cron does."""
    with running_chaos_portal(env, ("web", "worker")) as portal:
        alice = portal.api_client("alice")
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
        ended = Sandbox.objects.ended()
        delays = [(row.ended_at - row.expires_at).total_seconds() for row in ended]  # type: ignore[operator]
        return {
            "due": count,
            "removed": len(delays),
            "seconds": sorted(round(delay, 1) for delay in delays),
        }


def running() -> set[str]:
    return set(Sandbox.objects.running().values_list("public_id", flat=True))


def not_ending() -> set[str]:
    return set(Sandbox.objects.not_ending().values_list("public_id", flat=True))


def all_respond() -> bool:
    """Return whether every sandbox that is marked as running responds."""
    rows = Sandbox.objects.running()
    return all(responds(address) for row in rows for address in row.addresses.values())


OUTAGES: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (broker, database, due_sandboxes, engine, engine_hangs, queue)
}
