"""The queue, the worker at its other end, and the reaper."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandboxes import clock, tasks
from sandboxes.doctor import work
from sandboxes.reaper import Sweep
from sandboxes.runtime import EngineRefused
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one

if TYPE_CHECKING:
    from kombu import Connection

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.store


def test_a_worker_that_answers_is_alive() -> None:
    assert levels(work.queue()) == [FINE, FINE]


def test_a_queue_at_whose_end_nobody_is_is_told(
    no_worker: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "ANSWER_SECONDS", 0.2)
    assert "No worker answered" in the_one(work.queue(), WRONG).words


def test_a_broker_that_takes_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("connection to redis://:s3cret@cache refused")

    monkeypatch.setattr(tasks.answer, "delay", refuse)
    finding = the_one(work.queue(), WRONG)
    assert "takes no message" in finding.words and "s3cret" not in finding.words


@pytest.mark.django_db
def test_a_reaper_that_sleeps_or_complains_is_told(runtime: MemoryRuntime) -> None:
    assert levels(work.reaper()) == [WRONG]
    Sweep().run()
    assert levels(work.reaper()) == [FINE]
    runtime.plant("sbx_orphan", clock.now() - timedelta(hours=1))
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    Sweep().run()
    assert "It is busy." in the_one(work.reaper(), WARNING).words


@pytest.mark.django_db
def test_what_the_console_complains_of_is_told(runtime: MemoryRuntime) -> None:
    Sweep().run()
    assert levels(work.alarms()) == [FINE]
    runtime.unreachable = True
    Sweep().run()
    assert "engine" in the_one(work.alarms(), WRONG).words
