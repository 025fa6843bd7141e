"""Bombs for a portal in use: responses that make a careless reader take all memory or time.

The API of one developer's sandbox sends them to the explorer, its services write them to their
logs, answer readiness checks and probes with them, and webhook endpoints answer with them. Another
developer's requests are timed meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from urllib.parse import urlencode

from sandboxes.models import Sandbox, State, SweepStatus, WebhookDelivery
from sandboxes.reaper import tasks as reaper_tasks
from tests.bench import processes
from tests.bench.http_client import HttpClient
from tests.bench.portal_tasks import sign_in
from tests.chaos.environment import ChaosEnvironment, add_blueprint
from tests.chaos.portal_process import SANDBOXES, ChaosPortal, running_chaos_portal
from tests.fakes.streaming_server import RESPONSES, answering_server, streaming_server
from tests.helpers.wait import wait_for
from tests.security.bombs import openapi_bombs, page_bombs

LOG_FLOOD = "head -c 4000000 /dev/zero | tr '\\0' A > /proc/1/fd/1"
MEASURED = ("web", "worker")
CSRF_TOKEN = "a" * 32
HOSTILE_RESPONSES = ("nothing", "status", "headers", "body", "trickle")
"""How services of the blueprint `hostile` answer each request; the first two are never ready."""
SWEEPS = 3
USUAL_DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {
        "/items": {
            "get": {
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {"properties": {"data": {"items": {"properties": {}}}}}
                            }
                        }
                    }
                }
            }
        }
    },
}
ITEMS = b'{"data": [{"id": "item_1"}]}'


def run(env: ChaosEnvironment) -> dict[str, object]:
    """Return MB above idle by process, the slowest request of others, and what failed."""
    settings = {
        "WEBHOOK_ALLOW_PRIVATE": "on",
        "WEBHOOK_ALLOW_HTTP": "on",
        "API_CALLS_PER_MINUTE": "100000",
        "SANDBOX_PROVISION_TIMEOUT_SECONDS": "15",
    }
    add_blueprint(env.var, "hostile", env.image)
    with running_chaos_portal(env, MEASURED, **settings) as portal:
        alice, bob = portal.api_client("alice"), portal.api_client("bob")
        first, second = (sandbox["id"] for sandbox in portal.launch(alice, 2))
        portal.launch(bob, 1)
        for sandbox in (first, second):
            page = explore(portal, sandbox, document(json.dumps(USUAL_DOCUMENT).encode(), ITEMS))
            assert b"item_1" in page, "the explorer doesn't reach the API"
        idle = memory(portal)
        with (
            highest_memory(portal) as highest,
            timed_requests(portal) as times,
            ThreadPoolExecutor() as threads,
        ):
            lanes = [
                threads.submit(explore_texts, portal, first),
                threads.submit(explore_streams, portal, second),
                threads.submit(flood_logs, env, portal, first),
                threads.submit(answer_webhooks, portal),
            ]
            counts = [lane.result() for lane in lanes]
            # Sweeps restore the addresses that the explorer's lanes have replaced.
            counts.append(probe_services(portal))
        return {
            "bombs": sum(counts),
            "idle_mb": idle,
            "above_idle_mb": {name: round(highest[name] - idle[name], 1) for name in MEASURED},
            "requests": len(times),
            "slowest": max(times, key=lambda one: one[1]),
            "failed_requests": sum(status >= 500 or not status for _, _, status in times),
        }


def memory(portal: ChaosPortal) -> dict[str, float]:
    with suppress(OSError):
        sizes = processes.memory(portal.portal)
        return {name: round(sizes[name], 1) for name in MEASURED}
    return dict.fromkeys(MEASURED, 0.0)  # A process ended while it was measured.


@contextmanager
def in_background(work: Callable[[], object]) -> Iterator[None]:
    """Repeat the work in a thread until the block ends."""
    stopped = threading.Event()

    def repeat() -> None:
        while not stopped.wait(0.1):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@contextmanager
def highest_memory(portal: ChaosPortal) -> Iterator[dict[str, float]]:
    """Measure in the background; yield the highest MB by process."""
    highest = dict.fromkeys(MEASURED, 0.0)

    def measure() -> None:
        for name, size in memory(portal).items():
            highest[name] = max(highest[name], size)

    with in_background(measure):
        yield highest


@contextmanager
def timed_requests(portal: ChaosPortal) -> Iterator[list[tuple[str, float, int]]]:
    """Send another developer's requests in the background; yield path, seconds and status."""
    times: list[tuple[str, float, int]] = []
    api, browser = portal.api_client("bob"), session(portal, "bob")

    def send() -> None:
        for path, client in ((SANDBOXES, api), ("/healthz", api), ("/", browser)):
            began = time.monotonic()
            try:
                response = client.get(path)
            except (OSError, HTTPException):
                times.append((path, time.monotonic() - began, 0))
            else:
                times.append((path, response.seconds, response.status))

    with in_background(send):
        yield times


def session(portal: ChaosPortal, username: str) -> HttpClient:
    """Return a client of the pages."""
    cookies = f"sessionid={sign_in(username)}; csrftoken={CSRF_TOKEN}"
    address = ("127.0.0.1", portal.portal.port)
    return HttpClient(*address, timeout=60, Cookie=cookies, X_CSRFToken=CSRF_TOKEN)


# Readiness checks and probes


def probe_services(portal: ChaosPortal) -> int:
    """Launch sandboxes that answer the worker's checks with bombs, and let it sweep over them."""
    dave = portal.api_client("dave")
    for response in HOSTILE_RESPONSES:
        options = {"blueprint": "hostile", "parameters": {"response": response}}
        assert dave("POST", SANDBOXES, options).status == 201
    hostile = Sandbox.objects.filter(blueprint="hostile")
    starting = hostile.filter(state__in=(State.PENDING, State.PROVISIONING))
    wait_for(lambda: not starting.exists(), "no hostile sandbox is starting", 120, 0.2)
    ready = set(hostile.running().values_list("parameters__response", flat=True))
    assert ready == set(HOSTILE_RESPONSES[2:]), ready
    for _ in range(SWEEPS):
        before = SweepStatus.current().last_sweep_at
        reaper_tasks.sweep.delay()
        wait_for(
            lambda before=before: SweepStatus.current().last_sweep_at != before,
            "the worker has swept",
            60,
            0.2,
        )
    return len(HOSTILE_RESPONSES) + SWEEPS * len(ready)


# The explorer


def document(openapi: bytes, items: bytes) -> Callable[[bytes], Iterable[bytes]]:
    """Return a server's function: it sends the OpenAPI document, and items for any other path."""

    def respond(request: bytes) -> Iterable[bytes]:
        body = openapi if b"openapi.json" in request.partition(b"\r\n")[0] else items
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
        return (head.format(len(body)).encode(), body)

    return respond


def explore(
    portal: ChaosPortal, sandbox: str, respond: Callable[[bytes], Iterable[bytes]]
) -> bytes:
    """Open the explorer, and send a request, to an API that responds so; return the page."""
    alice = session(portal, "alice")
    with answering_server(respond) as address:
        Sandbox.objects.filter(public_id=sandbox).update(addresses={"web:8080": address})
        form = urlencode({"operation": "GET /items"}).encode()
        alice.get(f"/sandboxes/{sandbox}/api/")
        content_type = {"Content_Type": "application/x-www-form-urlencoded"}
        return alice("POST", f"/sandboxes/{sandbox}/api/send/", None, form, **content_type).body


def explore_texts(portal: ChaosPortal, sandbox: str) -> int:
    usual = json.dumps(USUAL_DOCUMENT).encode()
    bombs = [document(text, ITEMS) for _, text in openapi_bombs()]
    bombs += [document(usual, text) for _, text in page_bombs()]
    for bomb in bombs:
        explore(portal, sandbox, bomb)
    return len(bombs)


def explore_streams(portal: ChaosPortal, sandbox: str) -> int:
    for response in RESPONSES.values():
        explore(portal, sandbox, lambda _, response=response: response())
    return len(RESPONSES)


# Logs and webhooks


def flood_logs(env: ChaosEnvironment, portal: ChaosPortal, sandbox: str) -> int:
    """Let a service write one endless line, and read its log in the API and on its page."""
    alice, browser = portal.api_client("alice"), session(portal, "alice")
    for _ in range(5):
        command = env.engine.exec_create(f"{sandbox}-store-1", ["sh", "-c", LOG_FLOOD])
        env.engine.exec_start(command["Id"])
        alice.get(f"{SANDBOXES}/{sandbox}/logs?service=store")
        browser.get(f"/sandboxes/{sandbox}/logs/?service=store")
    return 5


def answer_webhooks(portal: ChaosPortal) -> int:
    """Let the endpoints of a test message answer with every kind of stream."""
    carol = portal.api_client("carol")
    with ExitStack() as stack:
        for response in RESPONSES.values():
            address = stack.enter_context(streaming_server(response))
            webhook = carol("POST", "/api/v1/webhooks", {"url": f"http://{address}/"}).json()
            carol("POST", f"/api/v1/webhooks/{webhook['id']}/test", {})
            wait_for(
                lambda: not WebhookDelivery.objects.filter(attempts=0).exists(),
                "a delivery was tried",
                60,
                0.2,
            )
            carol("DELETE", f"/api/v1/webhooks/{webhook['id']}")
    return len(RESPONSES)
