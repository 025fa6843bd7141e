"""Batches: bounded threads, no missed rows, and a quick end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import pytest

from sandboxes.lib import batches
from sandboxes.lib.batches import Batch

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


@pytest.fixture
def batch(settings: SettingsWrapper) -> Batch:
    settings.WORKER_BATCH_THREADS = {"work": 1}
    return Batch("work")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as running:
        yield running


class Rows:
    """Rows that are processed when the test says so."""

    def __init__(self, due: int) -> None:
        self.due = due
        self.done = 0
        self.started = Event()
        self.may_finish = Event()

    def process_next(self) -> bool:
        if not self.due:
            return False
        self.due -= 1
        self.started.set()
        self.may_finish.wait(timeout=30)
        self.done += 1
        return True


def test_a_message_ends_at_once_while_the_batch_has_all_its_threads(
    batch: Batch, threads: ThreadPoolExecutor
) -> None:
    rows = Rows(2)
    working = threads.submit(batch.run, rows.process_next)
    rows.started.wait(timeout=30)
    for _ in range(100):
        batch.run(rows.process_next)
    assert (rows.done, working.done()) == (0, False)

    rows.may_finish.set()
    working.result(timeout=30)
    assert rows.done == 2


def test_a_row_that_becomes_due_after_the_last_look_is_processed(batch: Batch) -> None:
    rows = Rows(0)
    rows.may_finish.set()

    def look_then_let_another_come() -> bool:
        if rows.process_next():
            return True
        if not rows.done:
            rows.due = 1
            batch.run(rows.process_next)  # Its message, for which there is no thread.
            assert rows.done == 0
        return False

    batch.run(look_then_let_another_come)
    assert rows.done == 1


def test_a_failure_frees_the_thread(batch: Batch) -> None:
    def fail() -> bool:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - our own
        batch.run(fail)
    rows = Rows(1)
    rows.may_finish.set()
    batch.run(rows.process_next)
    assert rows.done == 1


def test_a_batch_ends_after_its_current_row_when_the_process_stops(
    batch: Batch, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "stopping", Event())
    rows = Rows(100)
    working = threads.submit(batch.run, rows.process_next)
    rows.started.wait(timeout=30)
    batches.stopping.set()
    rows.may_finish.set()
    working.result(timeout=30)

    assert rows.done == 1
