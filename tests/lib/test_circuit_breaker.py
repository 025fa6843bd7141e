"""After a failure, calls pause; then one call decides for all."""

from __future__ import annotations

import pytest

from sandboxes.lib import circuit_breaker
from sandboxes.lib.circuit_breaker import CircuitBreaker


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that the breaker sees, to be changed."""
    now = [100.0]
    monkeypatch.setattr(circuit_breaker, "monotonic", lambda: now[0])
    return now


def test_calls_pause_after_a_failure_until_one_succeeds(seconds: list[float]) -> None:
    breaker = CircuitBreaker(5)
    assert breaker.allows_call()
    breaker.record_failure()
    assert not breaker.allows_call()
    seconds[0] += 5
    assert [breaker.allows_call() for _ in range(3)] == [True, False, False]
    breaker.record_success()
    assert [breaker.allows_call() for _ in range(3)] == [True, True, True]


def test_another_call_tries_if_the_first_one_never_returns(seconds: list[float]) -> None:
    breaker = CircuitBreaker(5)
    breaker.record_failure()
    seconds[0] += 5
    assert breaker.allows_call()
    seconds[0] += 5
    assert breaker.allows_call()
