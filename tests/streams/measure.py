"""`python -m tests.streams.measure`: memory of the process `streams`, and the way of an event.

Starts a portal whose sandboxes are processes. An event is made by a request to a sandbox's API; the
time ends when `sandbox listen` would deliver it to a program on the same machine.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx2
import psutil
from sandbox_client import AsyncClient

from tests.harness.portal import Portal, running_portal
from tests.harness.ports import reserve_port

CONNECTIONS = 200
USERS_CONNECTIONS = 10
EVENTS = 40


def memory_mb(port: int) -> float:
    """Return the proportional set size of the process that listens on a port."""
    [pid] = {
        one.pid
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid
    }
    return psutil.Process(pid).memory_full_info().pss / 1e6


async def measure(portal: Portal, port: int) -> None:
    """Print the figures."""
    base, token = f"http://127.0.0.1:{portal.port}", portal.accounts["developer"]["token"]
    print(f"idle: {memory_mb(port):.0f} MB")
    async with AsyncClient(base, token) as client:
        sandbox = await client.launch()
        apis = (await sandbox.connections())["apis"]
        api = next(iter(apis.values()))
        sent: list[float] = []
        delays: list[float] = []

        async def listen() -> None:
            async for event in client.events(sandbox.id):
                if event.source == "sandbox" and sent:
                    delays.append(time.monotonic() - sent.pop(0))
                if len(delays) == EVENTS:
                    return

        listening = asyncio.create_task(listen())
        await asyncio.sleep(1)
        async with httpx2.AsyncClient(base_url=api["url"], headers=api["headers"]) as http:
            for _ in range(EVENTS):
                sent.append(time.monotonic())
                body = {"type": "plan.created", "object_id": "plan_team"}
                (await http.post("/v1/events", json=body)).raise_for_status()
                await asyncio.sleep(0.37)
        await asyncio.wait_for(listening, 30)
        delays.sort()
        print(
            f"event to delivery: p50 {statistics.median(delays) * 1000:.0f} ms, "
            f"p95 {delays[int(len(delays) * 0.95)] * 1000:.0f} ms, {len(delays)} events"
        )
        await sandbox.destroy()


async def hold(portal: Portal, port: int, tokens: list[str]) -> None:
    """Open all connections and print the memory with them."""
    url = f"http://127.0.0.1:{port}/streams/events"
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=60, limits=limits) as http:
        opened = [
            await http.send(
                http.build_request("GET", url, headers={"Authorization": f"Bearer {token}"}),
                stream=True,
            )
            for token in tokens
        ]
        assert {answer.status_code for answer in opened} == {200}
        await asyncio.sleep(20)
        print(f"{len(opened)} connections: {memory_mb(port):.0f} MB")
        children = psutil.Process(portal.pid).children(recursive=True)
        web = [one for one in children if "gunicorn" in " ".join(one.cmdline())]
        before = sum(sum(one.cpu_times()[:2]) for one in web)
        await asyncio.sleep(10)
        used = sum(sum(one.cpu_times()[:2]) for one in web) - before
        print(f"web meanwhile: {used * 10:.0f} % of a CPU")
        for answer in opened:
            await answer.aclose()


MAKE_TOKENS = """
from django.contrib.auth import get_user_model
from sandboxes.accounts import api_tokens
for number in range({users}):
    name = f"listener{{number}}@example.com"
    user = get_user_model().objects.create_user(name, name)
    for _ in range({each}):
        print("token", api_tokens.issue(user, "listener", "read")[1])
"""


def main() -> None:
    port = reserve_port()
    with (
        tempfile.TemporaryDirectory() as var,
        running_portal(
            Path(var),
            ("web", "worker", "streams"),
            SANDBOX_RUNTIME="process",
            STREAMS_PORT=str(port),
            STREAMS_URL=f"http://127.0.0.1:{port}",
        ) as portal,
    ):
        asyncio.run(measure(portal, port))
        code = MAKE_TOKENS.format(users=CONNECTIONS // USERS_CONNECTIONS, each=USERS_CONNECTIONS)
        done = portal.manage("shell", "--verbosity", "0", "-c", code)
        tokens = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("token ")]
        assert len(tokens) == CONNECTIONS, done.stderr
        asyncio.run(hold(portal, port, tokens))


if __name__ == "__main__":
    main()
