"""Removals, resets and repairs have a bounded number of threads, which launches don't wait for."""

from __future__ import annotations

import pytest

from sandboxes import actions
from sandboxes.models import Sandbox, State
from sandboxes.worker import tasks as worker_tasks
from sandboxes.worker import teardown
from sandboxes.worker.backlog import Backlog
from tests.helpers.scenarios import launch, reload

pytestmark = pytest.mark.django_db


@pytest.fixture
def _one_thread(settings, monkeypatch) -> None:
    settings.WORKER_BATCH_THREADS = {"removals": 1}
    monkeypatch.setattr(worker_tasks, "_removals", Backlog("removals", teardown.tear_down))


@pytest.mark.usefixtures("_one_thread")
def test_a_removal_whose_message_finds_no_thread_free_is_done_by_another(
    alice, runtime, monkeypatch
):
    first, second, third = (launch(alice) for _ in range(3))
    for row in (first, second, third):
        actions.destroy(row, alice)  # Its message is lost.
    destroy, destroyed = runtime.destroy, []

    def destroy_while_other_messages_come(public_id):
        if public_id == first.public_id:
            for _ in range(3):
                worker_tasks.tear_down(second.public_id)
            assert reload(second).state == State.DESTROYING
        destroy(public_id)
        destroyed.append(public_id)

    monkeypatch.setattr(runtime, "destroy", destroy_while_other_messages_come)
    worker_tasks.tear_down(first.public_id)

    assert destroyed == [first.public_id, second.public_id]
    assert reload(third).state == State.DESTROYING


@pytest.mark.usefixtures("_one_thread")
def test_a_failure_leaves_the_thread_to_the_others(alice, runtime):
    sandbox = launch(alice)
    actions.destroy(sandbox, alice)
    with pytest.raises(Sandbox.DoesNotExist):
        worker_tasks.tear_down("sbx_unknown")
    worker_tasks.tear_down(sandbox.public_id)

    assert reload(sandbox).state == State.DESTROYED
