"""Log tails: stored before the removal, which never waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandboxes import actions
from sandboxes.core import leases, lifecycle
from sandboxes.lib import redaction
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.runtime import EngineUnreachable
from sandboxes.worker import teardown
from tests.helpers.scenarios import launch, reload, request, sweep

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db

AWAY = "The engine did not answer."


def end(sandbox: Sandbox, alice: User) -> Sandbox:
    actions.destroy(sandbox, alice)
    teardown.tear_down(reload(sandbox))
    return reload(sandbox)


def test_the_log_tail_is_stored_without_secrets_for_every_end_reason(
    alice: User, runtime: MemoryRuntime
) -> None:
    for reason in (EndReason.USER, EndReason.IDLE, EndReason.EXPIRED, EndReason.OPERATOR):
        sandbox = launch(alice)
        runtime.write_log(sandbox.public_id, "api", f"the key is {sandbox.secrets['API_KEY']}")
        lifecycle.begin_destroy(sandbox, reason, "It is over.")
        teardown.tear_down(sandbox)
        assert "the key is •••" in reload(sandbox).final_logs


def test_binary_logs_do_not_prevent_the_removal(alice: User, runtime: MemoryRuntime) -> None:
    ended, crashed = launch(alice), launch(alice)
    for sandbox in (ended, crashed):
        runtime.write_log(sandbox.public_id, "api", "\0\ufffd\x1b[0m")
    assert "\ufffd\ufffd" in end(ended, alice).final_logs
    runtime.stop_service(crashed.public_id, "api")
    sweep()
    crashed = reload(crashed)
    assert (crashed.state, crashed.end_reason) == (State.FAILED, EndReason.CRASHED)
    assert "\ufffd\ufffd" in crashed.failure["log_tail"]
    assert runtime.observe() == {}


def test_unreadable_logs_do_not_prevent_the_removal(alice: User, runtime: MemoryRuntime) -> None:
    sandbox = launch(alice)
    runtime.fail_next("logs", EngineUnreachable(AWAY))
    gone = end(sandbox, alice)
    assert (gone.state, gone.final_logs) == (State.DESTROYED, "")
    assert runtime.observe() == {}


def test_a_retried_removal_reads_the_logs_once(
    alice: User, runtime: MemoryRuntime, clock: Clock
) -> None:
    sandbox = launch(alice)
    runtime.write_log(sandbox.public_id, "api", "the first words")
    runtime.fail_next("destroy", EngineUnreachable(AWAY))
    assert end(sandbox, alice).state == State.DESTROYING
    runtime.write_log(sandbox.public_id, "api", "later words")
    clock.forward(minutes=11)
    gone = end(sandbox, alice)
    assert gone.state == State.DESTROYED
    assert "the first words" in gone.final_logs
    assert "later words" not in gone.final_logs


def test_a_slow_engine_does_not_let_another_worker_take_the_removal(
    alice: User, runtime: MemoryRuntime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = launch(alice)
    actions.destroy(sandbox, alice)
    read = runtime.logs

    def slowly(*asked: object) -> str:
        clock.forward(seconds=leases.LEASE_DURATION.total_seconds() / 3)
        return read(*asked)  # type: ignore[arg-type]

    def no_other_worker(sandbox_id: str) -> None:
        clock.forward(seconds=leases.LEASE_DURATION.total_seconds() / 2)
        assert not leases.acquire_lease(sandbox, [State.DESTROYING])

    monkeypatch.setattr(runtime, "logs", slowly)
    monkeypatch.setattr(runtime, "destroy", no_other_worker)
    assert teardown.tear_down(reload(sandbox))


def test_a_sandbox_that_never_ran_has_no_log_tail(alice: User, runtime: MemoryRuntime) -> None:
    assert end(request(alice), alice).final_logs == ""


def test_a_failure_stores_the_log_tail_once(alice: User, runtime: MemoryRuntime) -> None:
    sandbox = launch(alice)
    runtime.write_log(sandbox.public_id, "api", "famous last words")
    teardown.fail(sandbox, EndReason.CRASHED, "It stopped.", "api", 1)
    gone = reload(sandbox)
    assert "famous last words" in gone.failure["log_tail"]
    assert gone.final_logs == ""


def test_an_empty_secret_redacts_nothing() -> None:
    assert redaction.redact("text", {"A": "", "B": "ex"}) == "t•••t"


def test_a_secret_inside_another_is_redacted_completely() -> None:
    assert redaction.redact("abcdef", {"A": "abc", "B": "abcdef"}) == "•••"
