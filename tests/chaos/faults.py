"""Faults around a running portal: broken sandboxes, and its own disk, files, clock and Redis.

Each experiment counts what is `stuck` (a sandbox on which work doesn't end), `lost` (a sandbox that
its owner had, or was promised), and `unreachable` (one that is marked as running and doesn't
respond), once the fault has ended.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandboxes.models import Pool, Sandbox
from tests.bench.http_client import HttpClient
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.fault_schedule import CALL, Point
from tests.chaos.outages import running
from tests.chaos.portal_process import (
    SANDBOXES,
    ChaosPortal,
    responds,
    running_chaos_portal,
)
from tests.chaos.processes import Processes
from tests.chaos.scenarios import ScenarioHarness, has_unfinished_work
from tests.harness.redis import redis
from tests.helpers.wait import wait_for

POOL_SIZE = 3
HOUR = 3600.0
FAULT_SECONDS = 5.0


def run(env: ChaosEnvironment, fault: str, **options: Any) -> dict[str, Any]:
    results: dict[str, Any] = FAULTS[fault](env, **options)
    return results


def outcome(expected: set[str], **more: Any) -> dict[str, Any]:
    """Return what has become of the sandboxes that should run now."""
    rows = list(Sandbox.objects.running())
    silent = [row for row in rows if not all(map(responds, row.addresses.values()))]
    return {
        "stuck": int(has_unfinished_work()),
        "lost": len(expected - {row.public_id for row in rows}),
        "unreachable": len(silent) + sum(not row.addresses for row in rows),
    } | more


def settle(seconds: float = 90) -> None:
    """Wait for the workers, at most this long; `outcome` counts what isn't finished then."""
    try:
        wait_for(lambda: not has_unfinished_work(), "no work is left for workers", seconds, 0.2)
    except TimeoutError:
        return


# Broken sandboxes


def pause(env: ChaosEnvironment, sandbox: str) -> None:
    env.engine.pause(f"{sandbox}-web-1")


def disconnect(env: ChaosEnvironment, sandbox: str) -> None:
    env.engine.disconnect_container_from_network(f"{sandbox}-web-1", f"{sandbox}_default")


def broken_sandboxes(env: ChaosEnvironment) -> dict[str, Any]:
    """Break running and pooled sandboxes, claim the pooled ones at once, and sweep once."""
    with running_chaos_portal(env, ("web", "worker")) as portal:
        alice = portal.api_client("alice")
        kept = [sandbox["id"] for sandbox in portal.launch(alice, 3)]
        fill_pool(portal)
        pooled = list(Sandbox.objects.pooled().order_by("pk").values_list("public_id", flat=True))
        for broken in (kept, pooled):
            pause(env, broken[0])
            disconnect(env, broken[1])
        Pool.objects.update(size=0)
        claimed = [portal.request_launch(alice)["id"] for _ in range(2)]
        time.sleep(1)
        settle()
        handed_out = [find(sandbox) for sandbox in claimed]
        unreachable = sum(not reachable(row) for row in handed_out)
        swept = portal.sweep()
        noticed = sum(was_noticed(find(sandbox)) for sandbox in kept[:2])
        settle()
        result = outcome({*kept, *claimed}, broken=4, noticed=noticed + 2 - unreachable)
        result["unreachable"] += unreachable
        result["errors"] = swept.stderr.splitlines()
        return result


def fill_pool(portal: ChaosPortal) -> None:
    Pool.objects.update_or_create(blueprint="tiny", defaults={"size": POOL_SIZE, "retry_at": None})
    portal.sweep()
    wait_for(
        lambda: Sandbox.objects.pooled().count() == POOL_SIZE and not has_unfinished_work(),
        "the pool is filled",
        60,
        0.2,
    )


def find(public_id: str) -> Sandbox:
    return Sandbox.objects.get(public_id=public_id)


def reachable(row: Sandbox) -> bool:
    return bool(row.addresses) and all(map(responds, row.addresses.values()))


def was_noticed(row: Sandbox) -> bool:
    """Return whether the portal knows that the sandbox is broken, or has repaired it already."""
    repaired = row.events.filter(kind="revived").exists()
    return bool(row.problem or row.leased_until or repaired)


# The clock


def clock_set_back(env: ChaosEnvironment, hours: float = 1) -> dict[str, Any]:
    """Kill workers while the clock is ahead, then set it back, so that leases are in the future."""
    harness = ScenarioHarness(Processes(env.proxy))
    processes = harness.processes
    kept = harness.running_sandbox()
    processes.clock_offset = hours * HOUR
    launched = processes.run("launch").value
    processes.run("request_reset", kept)
    for operation, sandbox in (("provision", launched), ("reset", kept)):
        worker = processes.run(operation, sandbox, at=Point(CALL, 1))
        assert worker.killed, f"the {operation} ended before it was killed"
    assert Sandbox.objects.filter(leased_until__isnull=False).count() == 2
    processes.clock_offset = 0
    waiting = processes.run("launch").value
    expected = {kept, launched, waiting}
    swept = processes.result("sweep")
    processes.run("process_queue")
    result = outcome(expected, errors=swept["errors"])
    for sandbox in expected:
        processes.run("request_destroy", sandbox)
    processes.run("process_queue")
    result["stuck"] += Sandbox.objects.live().count()
    return result


# The portal's disk and files


@contextmanager
def full_disk(env: ChaosEnvironment) -> Iterator[None]:
    """Fill the file system of VAR_DIR, including what the portal frees while it is full."""
    filler = env.var / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


def disk_full(env: ChaosEnvironment) -> dict[str, Any]:
    """Fill the disk under VAR_DIR while a user launches and destroys sandboxes."""
    settings = {"REAPER_SECONDS": "5"}
    with running_chaos_portal(env, ("web", "worker", "reaper"), **settings) as portal:
        alice = portal.api_client("alice")
        kept, destroyed = (sandbox["id"] for sandbox in portal.launch(alice, 2))
        with full_disk(env):
            removal = alice("DELETE", f"{SANDBOXES}/{destroyed}").status
            statuses = [alice.get("/healthz").status for _ in range(10)]
            promised = launches(alice, 2)
            wait_for(lambda: destroyed not in running(), "it is removed", 60, 0.2)
            time.sleep(FAULT_SECONDS)
        promised += launches(alice, 1)
        settle()
        wait_for(lambda: {kept, *promised} <= running(), "all run", 60, 0.2)
        refused = [status for status in (removal, *statuses) if status >= 500]
        return outcome({kept, *promised}, failed_requests=len(refused))


def launches(client: HttpClient, count: int) -> list[str]:
    """Request sandboxes; return the IDs of those that the portal has accepted."""
    responses = [client("POST", SANDBOXES, {}) for _ in range(count)]
    return [response.json()["id"] for response in responses if response.status == 201]


def unreadable_files(env: ChaosEnvironment) -> dict[str, Any]:
    """Put files that can't be read into the queue and among the metrics of running processes."""
    metrics = env.var / "metrics"
    metrics.mkdir()
    settings = {"REAPER_SECONDS": "5", "METRICS_TOKEN": "token"}
    settings["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    with running_chaos_portal(env, ("web", "worker", "reaper"), **settings) as portal:
        alice = portal.api_client("alice")
        kept = [sandbox["id"] for sandbox in portal.launch(alice, 1)]
        spoil(env.var / "queue" / "celery", "{:020d}-{}")
        spoil(metrics, "counter_99999{}{}.db")
        promised = launches(alice, 3)
        settle()
        monitor = HttpClient("127.0.0.1", portal.portal.port, Authorization="Bearer token")
        statuses = [monitor.get(path).status for path in ("/metrics", "/healthz")]
        expected = {*kept, *promised}
        wait_for(lambda: expected <= running(), "all run", 60, 0.2)
        failed = 3 - len(promised) + sum(status >= 500 for status in statuses)
        return outcome(expected, failed_requests=failed)


def spoil(folder: Path, name: str) -> None:
    """Create an empty file, a file of noise, a directory and a dangling link with such names."""
    empty, noise, directory, link = (folder / name.format(number, number) for number in range(4))
    empty.touch()
    noise.write_bytes(os.urandom(500))
    directory.mkdir()
    link.symlink_to("missing")


# Redis


def redis_hangs(env: ChaosEnvironment) -> dict[str, Any]:
    """Let Redis, which is the queue and the cache, accept connections without answering."""
    with redis(env.var) as server:
        settings = {
            "CELERY_BROKER_URL": server.url,
            "CACHE_URL": server.url.replace("/0", "/1"),
            "REAPER_SECONDS": "5",
        }
        with running_chaos_portal(env, ("web", "worker", "reaper"), **settings) as portal:
            alice = portal.api_client("alice")
            kept, destroyed = (sandbox["id"] for sandbox in portal.launch(alice, 2))
            assert server.process
            server.process.send_signal(signal.SIGSTOP)
            try:
                promised = launches(alice, 2)
                removal = alice("DELETE", f"{SANDBOXES}/{destroyed}").status
                statuses = [alice.get(path).status for path in (SANDBOXES, "/healthz")]
                time.sleep(FAULT_SECONDS)
            finally:
                server.process.send_signal(signal.SIGCONT)
            expected = {kept, *promised}
            began = time.monotonic()
            wait_for(lambda: running() == expected, "all run", 90, 0.2)
            settle()
            failed = 2 - len(promised) + sum(status >= 500 for status in (removal, *statuses))
            seconds = round(time.monotonic() - began, 1)
            return outcome(expected, failed_requests=failed, seconds=seconds)


FAULTS: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (broken_sandboxes, clock_set_back, disk_full, redis_hangs, unreadable_files)
}
