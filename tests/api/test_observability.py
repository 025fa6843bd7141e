"""Events, logs and resource usage of a sandbox in the API."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandboxes.models import Sandbox, UsageSample
from sandboxes.reaper.sweep import Sweep
from sandboxes.runtime.memory.runtime import PROBE_BYTES
from sandboxportal.celery import app
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from kombu import Connection

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def program(alice: User) -> ApiClient:
    return ApiClient(alice)


@pytest.fixture
def running(program: ApiClient, runtime: MemoryRuntime) -> dict[str, Any]:
    return program.launch()


def test_events_are_listed_oldest_first(program: ApiClient, running: dict[str, Any]) -> None:
    program.post(f"/sandboxes/{running['id']}/touch")
    events = program.get(f"/sandboxes/{running['id']}/events").json()["data"]
    kinds = [event["kind"] for event in events if not event["kind"].startswith("funding")]
    assert kinds == ["requested", "provisioning", "running", "touched"]
    assert [events[0]["by"], events[1]["by"]] == ["owner", "portal"]
    assert all(event["message"] and event["at"].endswith("Z") for event in events)


def test_events_do_not_name_operators(
    program: ApiClient, running: dict[str, Any], olga: User
) -> None:
    from sandboxes import actions

    actions.destroy(Sandbox.objects.get(), olga, "We need the room.")
    answer = program.get(f"/sandboxes/{running['id']}/events")
    (ending,) = [event for event in answer.json()["data"] if event["kind"] == "ending"]
    assert (ending["by"], ending["message"]) == ("operator", "We need the room.")
    assert "olga" not in answer.content.decode()


def test_events_are_paginated(program: ApiClient, running: dict[str, Any]) -> None:
    whole = program.get(f"/sandboxes/{running['id']}/events").json()["data"]
    seen, url = [], f"/sandboxes/{running['id']}/events?limit=1"
    while url:
        answer = program.get(url)
        seen += answer.json()["data"]
        url = answer.headers.get("Link", "").partition("/api/v1")[2].partition(">")[0]
    assert seen == whole
    assert len(seen) >= 3


def test_logs_are_the_last_lines_of_a_service(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    for number in range(5):
        runtime.write_log(running["id"], "api", f"line {number}")
    answer = program.get(f"/sandboxes/{running['id']}/logs?service=api&tail=2")
    assert answer.json() == {"service": "api", "text": "line 3\nline 4\n", "live": True}


def test_logs_contain_no_secrets(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    key = program.get(f"/sandboxes/{running['id']}/credentials").json()["api_key"]
    runtime.write_log(running["id"], "api", f"a client sent {key}")
    text = program.get(f"/sandboxes/{running['id']}/logs?service=api").json()["text"]
    assert "a client sent" in text
    assert key not in text


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "service"), ("service=cache", "service"), ("service=db&tail=0", "tail"),
     ("service=db&tail=1001", "tail"), ("service=db&tail=all", "tail")],
)  # fmt: skip
def test_unavailable_logs_are_rejected_with_a_reason(
    program: ApiClient, running: dict[str, Any], query: str, field: str
) -> None:
    answer = program.get(f"/sandboxes/{running['id']}/logs?{query}")
    assert assert_problem(answer, 422, field)["errors"][0]["field"] == field


def test_last_log_lines_of_a_failed_sandbox_are_kept(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    runtime.write_log(running["id"], "api", "I have no more memory")
    runtime.stop_service(running["id"], "api", 137, oom=True)
    assert Sweep().run().errors == []
    log = program.get(f"/sandboxes/{running['id']}/logs").json()
    assert (log["service"], log["live"]) == (None, False)
    assert "I have no more memory" in log["text"]
    assert program.look(running)["end_reason"] == "out_of_memory"


def test_last_log_lines_of_an_ended_sandbox_are_kept_without_secrets(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    key = program.get(f"/sandboxes/{running['id']}/credentials").json()["api_key"]
    runtime.write_log(running["id"], "api", f"a client sent {key} and left")
    program.delete(f"/sandboxes/{running['id']}")
    log = program.get(f"/sandboxes/{running['id']}/logs").json()
    assert log["live"] is False
    assert "== db ==" in log["text"]
    assert "a client sent ••• and left" in log["text"]
    assert program.look(running)["failure"] is None


def test_logs_are_unavailable_while_the_engine_is_unreachable(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime
) -> None:
    runtime.unreachable = True
    refused = program.get(f"/sandboxes/{running['id']}/logs?service=db")
    assert_problem(refused, 503, "engine")
    assert int(refused["Retry-After"]) > 0


def test_logs_are_unavailable_without_a_worker(
    program: ApiClient,
    running: dict[str, Any],
    queued_tasks: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandboxes.actions.logs.TIMEOUT_SECONDS", 0.3)
    refused = program.get(f"/sandboxes/{running['id']}/logs?service=db")
    assert_problem(refused, 503, "Try again shortly")
    assert queued_tasks.SimpleQueue("celery").qsize() == 1


def test_a_late_log_is_returned_to_a_repeated_request(
    program: ApiClient,
    running: dict[str, Any],
    queued_tasks: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandboxes.actions.logs.TIMEOUT_SECONDS", 0.1)
    path = f"/sandboxes/{running['id']}/logs?service=db"
    for _ in range(2):
        assert_problem(program.get(path), 503, "again")
    queue = queued_tasks.SimpleQueue("celery")
    assert queue.qsize() == 1, "it is asked for once"
    message = queue.get(block=False)
    message.ack()
    app.backend.store_result(message.headers["id"], {"text": "late"}, "SUCCESS")

    assert program.get(path).json()["text"] == "late"
    assert_problem(program.get(path), 503, "again")
    assert queue.qsize() == 1, "it is read again"


def test_usage_is_empty_before_the_first_sweep(program: ApiClient, running: dict[str, Any]) -> None:
    usage = program.get(f"/sandboxes/{running['id']}/usage").json()
    assert (usage["now"], usage["samples"]) == (None, [])
    assert usage["limits"] == {"memory_mb": 512, "cpus": 1.0, "disk_mb": 2048}


def test_every_sweep_adds_a_usage_sample(
    program: ApiClient, running: dict[str, Any], runtime: MemoryRuntime, clock: Clock
) -> None:
    Sweep().run()
    clock.forward(seconds=100)
    runtime.add_traffic(running["id"], 5000)
    runtime.set_disk_usage(running["id"], 12.5)
    Sweep().run()
    usage = program.get(f"/sandboxes/{running['id']}/usage").json()
    assert len(usage["samples"]) == 2
    assert usage["now"] == usage["samples"][-1]
    assert usage["now"]["sent_bytes"] == 5000 + 2 * PROBE_BYTES
    assert usage["now"]["disk_mb"] == 12.5
    assert usage["samples"][0]["cpus"] is None
    assert usage["now"]["cpus"] == pytest.approx(0.01)


def test_cpu_load_is_computed_between_two_samples(
    program: ApiClient, running: dict[str, Any]
) -> None:
    sandbox = Sandbox.objects.get()
    # 6 s of CPU time in 10 s, none in 10 s, then a restart that counts from zero.
    for number, cpu_seconds in enumerate((1.0, 7.0, 7.0, 0.5)):
        UsageSample.objects.create(
            sandbox=sandbox,
            at=sandbox.created_at + timedelta(seconds=10 * number),
            memory_mb=100,
            cpu_seconds=cpu_seconds,
            received_bytes=0,
            sent_bytes=0,
        )

    def cpu_loads(limit: int) -> list[float | None]:
        answer = program.get(f"/sandboxes/{running['id']}/usage?limit={limit}").json()
        return [sample["cpus"] for sample in answer["samples"]]

    assert cpu_loads(100) == [None, 0.6, 0.0, None]
    assert cpu_loads(3) == [0.6, 0.0, None]
    assert cpu_loads(1) == [None]
