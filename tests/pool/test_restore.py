"""After a restore from a backup, no used sandbox is claimed from the pool again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sandboxes.core import portal_status
from sandboxes.models import EndReason, Sandbox, State, SweepStatus
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import (
    pooled,
    reconcile_pool,
    reload,
    request,
    run_on_commit,
    state_and_reason,
    sweep,
)

pytestmark = pytest.mark.django_db

USED = "It was used before the portal was restored from a backup."


@pytest.fixture
def waiting(settings, runtime) -> Sandbox:
    """Return a sandbox that waits in the pool."""
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    reconcile_pool()
    return pooled()[0]


def backup(sandbox: Sandbox) -> dict[str, Any]:
    return Sandbox.objects.filter(pk=sandbox.pk).values().get()


def restore(row: dict[str, Any]) -> None:
    """Restore the row as in the backup; what runs on the engine stays as it is."""
    Sandbox.objects.filter(pk=row["id"]).update(**row)


def test_a_sweep_retires_a_sandbox_that_was_claimed_after_the_backup(alice, bob, waiting):
    row = backup(waiting)
    with run_on_commit():
        assert request(alice).pk == waiting.pk
    restore(row)
    sweep()

    assert state_and_reason(waiting) == (State.DESTROYED, EndReason.RETIRED)
    assert reload(waiting).end_message == USED
    with run_on_commit():
        assert request(bob).pk != waiting.pk


def test_a_claim_that_comes_before_the_first_sweep_ends_at_once(alice, bob, waiting):
    row = backup(waiting)
    with run_on_commit():
        request(alice)
    restore(row)
    with run_on_commit():
        assert request(bob).pk == waiting.pk

    assert state_and_reason(waiting) == (State.DESTROYED, EndReason.RETIRED)


def test_a_claim_that_no_worker_verified_is_marked_by_the_next_sweep(alice, runtime, waiting):
    row = backup(waiting)
    request(alice)
    assert runtime.observe()[waiting.public_id].claim == ""
    sweep()
    restore(row)
    sweep()

    assert state_and_reason(waiting) == (State.DESTROYED, EndReason.RETIRED)


def test_a_message_that_was_left_after_the_restore_retires_its_sandbox(alice, waiting):
    row = backup(waiting)
    request(alice)
    restore(row)
    worker_tasks.verify_claimed(waiting.public_id)

    assert state_and_reason(waiting) == (State.DESTROYED, EndReason.RETIRED)


def test_nothing_is_claimed_before_a_sweep_has_run_since_the_start(alice, monkeypatch, waiting):
    monkeypatch.setattr(portal_status, "STARTED_AT", timezone.now())
    assert request(alice).state == State.PENDING

    # The clock was ahead when the backup was made.
    SweepStatus.store(last_sweep_at=timezone.now() + timedelta(hours=1))
    assert request(alice).state == State.PENDING

    sweep()
    assert request(alice).pk == waiting.pk


def test_an_owner_keeps_a_claimed_sandbox_over_sweeps_and_restores(alice, waiting):
    with run_on_commit():
        claimed = request(alice)
    row = backup(claimed)
    sweep()
    restore(row)
    sweep()
    worker_tasks.verify_claimed(claimed.public_id)

    assert reload(claimed).state == State.RUNNING
