"""Checks of the queue, the workers, and the reaper."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandboxes.doctor import workers
from sandboxes.lib import clock
from sandboxes.models import WorkerStatus
from sandboxes.reaper.sweep import Sweep
from sandboxes.runtime import EngineRefused
from sandboxes.worker import tasks as worker_tasks
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one

if TYPE_CHECKING:
    from kombu import Connection

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.store


def test_a_responding_worker_is_ok() -> None:
    assert levels(workers.queue()) == [FINE, FINE]


def test_a_missing_worker_is_an_error(
    queued_tasks: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ANSWER_SECONDS", 0.2)
    assert "No worker responded" in the_one(workers.queue(), WRONG).message


def test_a_rejecting_broker_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("connection to redis://:s3cret@cache refused")

    monkeypatch.setattr(worker_tasks.ping, "delay", refuse)
    finding = the_one(workers.queue(), WRONG)
    assert "rejected a message" in finding.message and "s3cret" not in finding.message


@pytest.mark.django_db
def test_a_worker_that_does_not_report_is_an_error() -> None:
    assert "Start `worker`" in the_one(workers.heartbeat(), WRONG).message
    WorkerStatus.store(last_heartbeat_at=clock.now())
    assert levels(workers.heartbeat()) == [FINE]
    WorkerStatus.store(last_heartbeat_at=clock.now() - timedelta(minutes=1))
    assert "60 s ago" in the_one(workers.heartbeat(), WRONG).message


@pytest.mark.django_db
def test_a_late_or_failing_reaper_is_reported(runtime: MemoryRuntime) -> None:
    assert levels(workers.reaper()) == [WRONG]
    Sweep().run()
    assert levels(workers.reaper()) == [FINE]
    runtime.add_orphan("sbx_orphan", clock.now() - timedelta(hours=1))
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    Sweep().run()
    assert "It is busy." in the_one(workers.reaper(), WARNING).message


@pytest.mark.django_db
def test_alerts_of_the_admin_are_reported(runtime: MemoryRuntime) -> None:
    Sweep().run()
    assert levels(workers.operator_alerts()) == [FINE]
    runtime.unreachable = True
    Sweep().run()
    assert "engine" in the_one(workers.operator_alerts(), WRONG).message
