"""Samples of resource usage and request counts, taken by sweeps."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from sandboxes import actions, blueprints
from sandboxes.models import Sandbox
from sandboxes.reaper.sweep import Sweep
from sandboxes.runtime import EngineUnreachable
from sandboxes.usage import request_counts
from tests.helpers.scenarios import launch, run_on_commit, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.store]


def send_requests(runtime, sandbox, *lines: str) -> None:
    """Simulate requests, which the API logs as these lines."""
    runtime.add_traffic(sandbox.public_id, 1000)
    for line in lines:
        runtime.write_log(sandbox.public_id, "api", line)


def requests(sandbox) -> list[int | None]:
    """Return the request count of each sample."""
    return list(sandbox.samples.values_list("requests", flat=True))


def logged(method, client="curl"):
    """Return a line of the billing API's request log."""
    request = {"time": "2026-01-31T12:00:00.000Z", "method": method, "path": "/v1/plans"}
    response = {"status": 200, "ms": 4.2, "request_id": "req_1", "user_agent": client}
    return json.dumps(request | response, separators=(",", ":"))


def test_requests_of_the_portal_itself_are_not_counted(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(seconds=5)
    send_requests(runtime, sandbox, logged("GET", "sandbox-portal"), logged("GET"))
    sweep()
    assert requests(sandbox) == [1]


def test_a_sweep_records_the_usage_of_each_sandbox(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.set_disk_usage(sandbox.public_id, 12.5)
    clock.forward(seconds=30)
    sweep()

    sample = sandbox.samples.get()
    assert sample.memory_mb > 0
    assert sample.disk_mb == 12.5
    assert sample.at == timezone.now()


def test_samples_are_20_seconds_apart_and_retained_for_7_days(alice, runtime, clock):
    sandbox = launch(alice)
    for _ in range(9):
        sweep()
        clock.forward(seconds=5)
    assert sandbox.samples.count() == 3

    with run_on_commit():
        actions.destroy(sandbox, alice)
    clock.forward(days=7)
    sweep()
    assert sandbox.samples.count() == 0


def test_requests_are_the_log_lines_that_match_the_blueprints_pattern(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(seconds=5)
    send_requests(runtime, sandbox, logged("GET"), logged("POST"), "Traceback: GET /")
    sweep()
    clock.forward(minutes=1)
    send_requests(runtime, sandbox, logged("DELETE"))
    sweep()
    assert requests(sandbox) == [2, 3]


def test_the_log_of_an_unused_sandbox_is_not_read(alice, runtime, clock, monkeypatch):
    read, count = [], runtime.count_lines
    noted = lambda counts: read.append({*counts}) or count(counts)  # noqa: E731
    monkeypatch.setattr(runtime, "count_lines", noted)
    used, idle = launch(alice), launch(alice)
    sweep()
    clock.forward(minutes=1)
    send_requests(runtime, used, logged("GET"))
    sweep()
    runtime.write_log(used.public_id, "api", logged("POST"))  # Its line appears late.
    for _ in range(2):
        clock.forward(minutes=1)
        sweep()
    assert read == [{used.public_id}] * 2
    assert requests(used) == [0, 1, 2, 2]
    assert requests(idle) == [0] * 4


def test_an_unreadable_log_loses_no_sample_and_no_request(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(seconds=5)
    send_requests(runtime, sandbox, logged("GET"))
    sweep()
    clock.forward(minutes=1)
    send_requests(runtime, sandbox, logged("GET"))
    runtime.fail_next("count_lines", EngineUnreachable("The engine did not answer."))
    assert sweep().errors == []
    assert requests(sandbox) == [1, None]
    clock.forward(minutes=1)
    assert sweep().errors == []
    assert requests(sandbox) == [1, None, 2]


def test_without_a_blueprint_no_requests_are_counted(alice, runtime, clock):
    sandbox = launch(alice)
    Sandbox.objects.update(blueprint="gone")
    assert "gone" not in blueprints.available()
    send_requests(runtime, sandbox, logged("GET"))
    sweep()
    assert requests(sandbox) == [None]


def test_logs_are_read_by_a_worker_and_not_by_the_sweep(alice, runtime, clock):
    sandbox = launch(alice)
    clock.forward(seconds=5)
    send_requests(runtime, sandbox, logged("GET"))
    Sweep().run()  # What it sent to the worker stays undone.
    assert requests(sandbox) == [None]
    request_counts.count_requests()
    assert requests(sandbox) == [1]
