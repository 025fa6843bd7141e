"""The request that shows whether a starting sandbox is ready."""

from __future__ import annotations

import tracemalloc

import pytest

from sandboxes.runtime import NotReady
from sandboxes.runtime.readiness import responds
from tests.fakes.streaming_server import RESPONSES, streaming_server
from tests.harness.ports import reserve_port
from tests.helpers.stopwatch import Stopwatch

SECONDS = 0.5
READY = {"endless headers", "an endless header", "trickled headers", "an endless body"} | {
    "a trickled body", "tiny chunks", "a huge length", "an endless chunk size",
}  # fmt: skip
"""Responses that begin with a status of 200."""


@pytest.mark.parametrize("name", RESPONSES)
def test_only_the_status_is_read_and_in_time(name: str) -> None:
    with streaming_server(RESPONSES[name]) as address:
        port = int(address.rpartition(":")[2])
        tracemalloc.start()
        stopwatch = Stopwatch()
        ready = responds("127.0.0.1", port, "/ready", SECONDS)
        seconds, (_now, peak) = stopwatch.seconds, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert ready is (name in READY)
    assert seconds < SECONDS + 0.3
    assert peak < 200_000


def test_a_closed_port_is_not_ready() -> None:
    assert not responds("127.0.0.1", reserve_port(), "/ready", SECONDS)


@pytest.mark.parametrize("name", ["nothing", "a trickled status line"])
def test_waiting_stops_when_the_service_has_ended(name: str) -> None:
    def stop() -> None:
        raise NotReady("The service api stopped.")

    with streaming_server(RESPONSES[name]) as address, pytest.raises(NotReady):
        responds("127.0.0.1", int(address.rpartition(":")[2]), "/", 30, stop)
