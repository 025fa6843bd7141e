"""A sandbox of billing in use: events until they arrive, memory, and a year of the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

from tests.bench import memory
from tests.bench.environment import PortalEnvironment, billing, destroy, launch
from tests.helpers.servers import serving

PAUSE_SECONDS = 0.3
"""Between two events, so that one doesn't wait for another."""
LONGEST_SECONDS = 30


class Receiver(ThreadingHTTPServer):
    """Takes webhooks, and notes when they arrive."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.arrivals: SimpleQueue[float] = SimpleQueue()


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.arrivals.put(time.perf_counter())
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def deliveries(env: PortalEnvironment, times: int) -> dict[str, Any]:
    """Measure events, from the response to a change to their arrival; then memory and a year."""
    client = env.developer()
    _, sandbox = launch(client)
    api = billing(client, sandbox)
    with _receiver() as receiver:
        url = f"http://127.0.0.1:{receiver.server_port}/"
        api("POST", "/v1/webhook_endpoints", {"url": url, "event_types": ["plan.updated"]})
        seconds = [_deliver(api, receiver, number) for number in range(times + 3)]
    sizes = memory.of_sandboxes(env.engine, env.portal.instance)[sandbox["id"]]
    year = api("POST", "/v1/test_clock", {"advance_by": "P1Y"})
    destroy(env, client, sandbox)
    if year.status != HTTPStatus.OK:
        raise RuntimeError(f"The clock answered {year.status}: {year.body.decode()}")
    # The first events include what processes do only once.
    return {"seconds": seconds[3:], "mb": sum(sizes.values()), "year_seconds": year.seconds}


def _deliver(api: Any, receiver: Receiver, number: int) -> float:
    time.sleep(PAUSE_SECONDS)
    api("PATCH", "/v1/plans/plan_team", {"description": f"Change {number}"})
    began = time.perf_counter()
    return max(0.0, receiver.arrivals.get(timeout=LONGEST_SECONDS) - began)


@contextmanager
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with serving(receiver):
        yield receiver
