"""Probes count all of their traffic, and give up on responses without an end."""

from __future__ import annotations

import itertools
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sandboxes.runtime import ProbeResult
from sandboxes.runtime.probing import (
    CLOSE_SECONDS,
    MAX_SETTLE_SECONDS,
    SETTLE_SECONDS,
    Target,
    probe_all,
)
from tests.helpers.stopwatch import Stopwatch


@contextmanager
def service(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_the_counter_is_read_after_the_service_has_closed_its_connections() -> None:
    closed: list[bool] = []

    class SlowToClose(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(1024):
                pass
            time.sleep(2 * SETTLE_SECONDS)
            closed.append(True)

    with service(SlowToClose) as port:
        target = Target("db", "127.0.0.1", port)
        found = probe_all({"sandbox": [target]}, 2, lambda _: len(closed))

    assert found == {"sandbox": ProbeResult(traffic_bytes=1)}


def test_the_counter_is_read_after_late_packets_and_in_bounded_time() -> None:
    """On a busy machine packets are late; a sandbox that others use has some all the time."""

    class Closing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(1024):
                pass

    late, endless = iter([100, 166, 232, 298, 298, 364]), itertools.count()
    with service(Closing) as port:
        targets = [Target("db", "127.0.0.1", port)]
        counters = {"busy machine": late, "in use": endless}
        stopwatch = Stopwatch()
        found = probe_all(dict.fromkeys(counters, targets), 2, lambda name: next(counters[name]))

    assert found["busy machine"].traffic_bytes == 298
    assert stopwatch.seconds < 2 * CLOSE_SECONDS + 2 * MAX_SETTLE_SECONDS


def test_a_response_without_an_end_holds_a_probe_up_for_a_moment_only() -> None:
    class Endless(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n")
            with suppress(OSError):
                while True:
                    self.request.sendall(b"X-Header: value\r\n")
                    time.sleep(0.01)

    with service(Endless) as port:
        target = Target("api", "127.0.0.1", port, "/readyz")
        stopwatch = Stopwatch()
        found = probe_all({"sandbox": [target]}, 2, lambda _: 0)

    assert found["sandbox"].problem == ""
    assert stopwatch.seconds < 2 * CLOSE_SECONDS + SETTLE_SECONDS
