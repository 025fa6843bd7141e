"""Health checks and metrics: `/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from sandboxes.lib.clock import now
from sandboxes.models import SweepStatus, WorkerStatus
from sandboxes.reaper.sweep import Sweep
from sandboxes.runtime import EngineRefused
from tests.helpers.api_client import ApiClient

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("queued_tasks"),
    pytest.mark.store,
]


def run_worker_and_sweep() -> None:
    """Do what a worker and the reaper do while all is well."""
    WorkerStatus.store(last_heartbeat_at=now())
    Sweep().run()


def readyz() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    assert "no-cache" in answer["Cache-Control"]
    return answer.status_code, answer.json()


def failed_checks(result: dict[str, Any]) -> set[str]:
    return {name for name, check in result["checks"].items() if not check["ok"]}


def refuse(error: type[Exception], *_: Any, **__: Any) -> None:
    raise error("could not connect to 10.0.0.7")


def test_healthz_works_without_a_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "cursor", partial(refuse, OperationalError))
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_while_a_worker_and_the_reaper_run_the_portal_is_ready(runtime: MemoryRuntime) -> None:
    run_worker_and_sweep()
    status, result = readyz()
    assert (status, result["status"]) == (200, "ready")
    assert result["checks"].keys() == {"database", "broker", "worker", "engine", "reaper"}
    assert failed_checks(result) == set()


def test_before_the_first_sweep_the_portal_is_not_ready(runtime: MemoryRuntime) -> None:
    WorkerStatus.store(last_heartbeat_at=now())
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"engine", "reaper"})
    assert "reap_sandboxes" in result["checks"]["reaper"]["detail"]


def test_without_a_worker_the_portal_is_not_ready(runtime: MemoryRuntime) -> None:
    Sweep().run()
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"worker"})
    assert "Start `worker`" in result["checks"]["worker"]["detail"]


def test_with_a_worker_that_hangs_the_portal_is_not_ready(
    runtime: MemoryRuntime, clock: Clock
) -> None:
    run_worker_and_sweep()
    clock.forward(seconds=45)
    assert readyz()[0] == 200
    clock.forward(seconds=1)
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"worker"})
    assert "46 s ago" in result["checks"]["worker"]["detail"]
    WorkerStatus.store(last_heartbeat_at=now())
    assert readyz()[0] == 200


def test_a_clock_that_was_put_back_is_reported(runtime: MemoryRuntime, clock: Clock) -> None:
    run_worker_and_sweep()
    clock.forward(hours=-1)
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"worker", "reaper"})
    assert "the clock was changed" in result["checks"]["reaper"]["detail"]


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_without_its_database_only_the_database_is_reported(
    runtime: MemoryRuntime, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    run_worker_and_sweep()
    monkeypatch.setattr(connection, "cursor", partial(refuse, error))
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"database"})
    assert result["checks"].keys() == {"database", "broker"}
    assert "10.0.0.7" not in json.dumps(result)


def test_with_an_unwritable_queue_only_the_broker_is_reported(
    runtime: MemoryRuntime, embedded_queue: Path, clock: Clock
) -> None:
    run_worker_and_sweep()
    embedded_queue.write_text("a file where the directory should be")
    clock.forward(minutes=1)
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"broker"})


def test_with_an_unreachable_broker_only_the_broker_is_reported(
    runtime: MemoryRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sandboxportal.celery import app

    run_worker_and_sweep()
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"broker"})
    assert "127.0.0.1" not in json.dumps(result)


def test_with_an_unreachable_engine_only_the_engine_check_fails(runtime: MemoryRuntime) -> None:
    run_worker_and_sweep()
    runtime.unreachable = True
    Sweep().run()
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"engine"})
    runtime.unreachable = False
    Sweep().run()
    assert readyz()[0] == 200


def test_a_failed_removal_leaves_the_portal_ready(alice: User, runtime: MemoryRuntime) -> None:
    WorkerStatus.store(last_heartbeat_at=now())
    runtime.add_orphan("sbx_orphan", now() - timedelta(hours=1))
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    assert Sweep().run().errors
    assert SweepStatus.current().last_sweep_error
    assert readyz()[0] == 200


def test_with_an_overdue_sweep_only_the_reaper_is_reported(
    runtime: MemoryRuntime, clock: Clock
) -> None:
    Sweep().run()
    clock.forward(minutes=3)
    WorkerStatus.store(last_heartbeat_at=now())
    assert readyz()[0] == 200
    clock.forward(seconds=1)
    status, result = readyz()
    assert (status, failed_checks(result)) == (503, {"reaper"})
    assert "181 s" in result["checks"]["reaper"]["detail"]


def scrape(**options: Any) -> dict[str, float]:
    """Return the portal's own metrics by name and label."""
    answer = Client().get("/metrics", **options)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    prefix = "sandboxportal_"
    return {
        "/".join([sample.name.removeprefix(prefix), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
        if sample.name.startswith(prefix)
    }


@pytest.fixture
def token(settings: SettingsWrapper) -> dict[str, Any]:
    settings.METRICS_TOKEN = "for-prometheus-alone"
    return {"headers": {"Authorization": "Bearer for-prometheus-alone"}}


def test_metrics_contain_sandboxes_by_state_and_reaper_status(
    token: dict[str, Any], alice: User, runtime: MemoryRuntime, clock: Clock, settings: Any
) -> None:
    settings.SANDBOX_MAX_SITE = 12
    Sweep().run()
    ApiClient(alice).launch()
    clock.forward(seconds=30)
    values = scrape(**token)
    assert values["sandboxes_by_state/pending"] == 1
    assert values["sandboxes_by_state/running"] == 0
    assert values["sandboxes_by_end_reason/crashed"] == 0
    assert values["oldest_pending_seconds"] == 30
    assert values["reaper_age_seconds"] == 30
    assert values["reaper_failed"] == 0
    assert values["site_limit"] == 12


def test_metrics_contain_failing_removals(
    token: dict[str, Any], alice: User, runtime: MemoryRuntime
) -> None:
    program = ApiClient(alice)
    sandbox = program.launch()
    program.delete(f"/sandboxes/{sandbox['id']}")
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    assert Sweep().run().errors
    assert scrape(**token)["removals_failing"] == 1
    assert scrape(**token)["reaper_failed"] == 1


def test_metrics_contain_http_request_metrics(token: dict[str, Any]) -> None:
    answer = Client().get("/metrics", **token)
    assert b"django_http_requests" in answer.content


def test_metrics_require_the_token_or_an_operator(
    token: dict[str, Any], alice: User, olga: User
) -> None:
    anonymous = Client().get("/metrics")
    assert (anonymous.status_code, anonymous["WWW-Authenticate"]) == (401, "Bearer")
    wrong = Client().get("/metrics", headers={"Authorization": "Bearer guess"})
    assert wrong.status_code == 401
    for user, status in ((alice, 401), (olga, 200)):
        browser = Client()
        browser.force_login(user)
        assert browser.get("/metrics").status_code == status


def test_an_empty_metrics_token_grants_no_access(settings: SettingsWrapper) -> None:
    settings.METRICS_TOKEN = ""
    for value in ("Bearer ", "Bearer", ""):
        assert Client().get("/metrics", headers={"Authorization": value}).status_code == 401
