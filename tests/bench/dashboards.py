"""Many open dashboards that poll as pages do, and warm launches beside them.

The dashboards' sandboxes are rows only. No reaper runs, which would find that the engine doesn't
have them.
"""

from __future__ import annotations

import html
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, local
from typing import Any

from tests.bench import processes
from tests.bench.environment import (
    HOST,
    SANDBOXES,
    PortalEnvironment,
    call_in_portal,
    launch,
)
from tests.bench.http_client import HttpClient
from tests.helpers.wait import wait_for

POLL_SECONDS = 10
WARNINGS_EVERY = 2
"""The page asks for warnings every 20 seconds."""
CONNECTIONS = 32
"""Threads of the load generator, each with one kept-alive connection."""
LAUNCH_EVERY_SECONDS = 2
LINK = re.compile(r'hx-get="(/overview/[^"]*)"')
SHOWN = re.compile(r'name="shown" value="((sbx_\w+)\.[^"]*)"')


@dataclass
class Dashboard:
    """An open page: the session's cookie, and what the page would send with its next poll."""

    cookie: str
    link: str = ""
    shown: dict[str, str] = field(default_factory=dict)
    polls: int = 0

    def read(self, text: str) -> None:
        """Take over what a response contains."""
        if found := LINK.search(text):
            self.link = html.unescape(found[1])
        self.shown |= {name: value for value, name in SHOWN.findall(text)}

    def path(self) -> str:
        """Return the URL of the next poll."""
        return self.link + "".join(f"&shown={value}" for value in self.shown.values())


def dashboards(
    env: PortalEnvironment, count: int, rounds: int, launches: int, pool: int
) -> dict[str, Any]:
    """Measure polls and warm launches, each at the client."""
    env.portal.manage("reap_sandboxes")
    wait_for(lambda: env.count("pooled") >= pool, "the pool is full", 120, 0.1)
    pages = [Dashboard(cookie) for cookie in call_in_portal(env.portal, "create_dashboards", count)]
    connections = local()

    def client() -> HttpClient:
        if not hasattr(connections, "client"):
            connections.client = HttpClient(HOST, env.portal.port)
        return connections.client  # type: ignore[no-any-return]

    def send(page: Dashboard, path: str, status: tuple[int, ...]) -> float:
        cookie = f"sessionid={page.cookie}"
        response = client().get(path, Cookie=cookie, HX_Request="true")
        if response.status not in status:
            raise RuntimeError(f"{path} returned status {response.status}.")
        page.read(response.body.decode())
        return response.seconds

    def poll(page: Dashboard) -> list[float]:
        page.polls += 1
        taken = [send(page, page.path(), (200, 204))]
        if page.polls % WARNINGS_EVERY == 0:
            taken.append(send(page, "/warnings/?where=cards&etag=", (200, 204)))
        return taken

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(lambda page: send(page, "/", (200,)), pages))
        random.Random(count).shuffle(pages)
        with _launching(env, launches) as launched:
            web, own = processes.web_cpu_seconds(env.portal), time.process_time()
            began = time.monotonic()
            waiting = []
            for number in range(rounds * count):
                due = began + number * POLL_SECONDS / count
                time.sleep(max(0, due - time.monotonic()))
                waiting.append(threads.submit(poll, pages[number % count]))
            polls = [taken for one in waiting for taken in one.result()]
            elapsed = time.monotonic() - began
            web = processes.web_cpu_seconds(env.portal) - web
            own = time.process_time() - own
    return launched | {
        "count": count,
        "polls": polls,
        "web_cpu_share": web / elapsed,
        "own_cpu_share": own / elapsed,
    }


@contextmanager
def _launching(env: PortalEnvironment, launches: int) -> Iterator[dict[str, Any]]:
    """Launch and destroy from the pool, one sandbox after the other, until the block ends."""
    stopped, measured = Event(), {"launches": [], "missed": 0}
    client = env.developer()

    def keep_launching() -> None:
        for _ in range(launches):
            if stopped.wait(LAUNCH_EVERY_SECONDS):
                return
            response, sandbox = launch(client, wait=False)
            if sandbox["state"] == "running":
                measured["launches"].append(response.seconds)
            else:
                measured["missed"] += 1
            client("DELETE", f"{SANDBOXES}/{sandbox['id']}")

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(keep_launching)
        try:
            yield measured
        finally:
            stopped.set()
    done.result()
