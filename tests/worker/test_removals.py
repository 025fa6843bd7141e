"""Removals have a bounded number of threads, which launches don't wait for."""

from __future__ import annotations

import pytest

from sandboxes import actions
from sandboxes.lib.batches import Batch
from sandboxes.models import State
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import launch, reload

pytestmark = pytest.mark.django_db


def test_a_removal_whose_message_finds_no_thread_free_is_done_by_another(
    alice, runtime, settings, monkeypatch
):
    settings.WORKER_BATCH_THREADS = {"removals": 1}
    monkeypatch.setattr(worker_tasks, "_removals", Batch("removals"))
    first, second, _ = rows = [launch(alice) for _ in range(3)]
    for row in rows:
        actions.destroy(row, alice)  # Its message is lost.
    destroy = runtime.destroy

    def destroy_while_another_message_comes(public_id):
        if public_id == first.public_id:
            worker_tasks.tear_down(second.public_id)
            assert reload(second).state == State.DESTROYING
        destroy(public_id)

    monkeypatch.setattr(runtime, "destroy", destroy_while_another_message_comes)
    worker_tasks.tear_down(first.public_id)

    assert {reload(row).state for row in rows} == {State.DESTROYED}


def test_a_message_removes_only_its_own_sandbox_otherwise(alice, runtime):
    first, second = launch(alice), launch(alice)
    for row in (first, second):
        actions.destroy(row, alice)
    worker_tasks.tear_down(first.public_id)

    assert (reload(first).state, reload(second).state) == (State.DESTROYED, State.DESTROYING)
