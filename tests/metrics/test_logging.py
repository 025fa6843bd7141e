"""Log lines contain their request, task, sweep and sandbox."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django_structlog.celery.signals import bind_extra_task_metadata

from tests.helpers.admin import run_action
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import launch, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Return a function that selects the log lines of an event."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "django_structlog")

    def select(event: str) -> list[dict[str, Any]]:
        logged = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        return [line for line in logged if line["event"] == event]

    return select


def test_journal_log_lines_contain_request_user_and_sandbox(lines, alice) -> None:
    sandbox = ApiClient(alice).launch()
    requested = next(line for line in lines("journal") if line["kind"] == "requested")

    assert requested["sandbox"] == sandbox["id"]
    assert requested["request_id"]
    assert requested["by"] == "owner"


@pytest.mark.parametrize("given", ["build-4711", "", "two words", "x" * 65, "-x", "a\x1b[31m"])
def test_the_id_of_a_request_is_taken_over_if_it_is_plain_and_returned(
    lines, alice, given: str
) -> None:
    answer = ApiClient(alice).post("/sandboxes", X_Request_ID=given)
    logged = {line["request_id"] for line in lines("journal")}

    assert logged == {answer["X-Request-ID"]}
    assert (answer["X-Request-ID"] == given) == (given == "build-4711")
    assert {line["user_id"] for line in lines("journal")} == {alice.pk}


@pytest.mark.django_db(transaction=True)
def test_tasks_carry_the_id_of_the_request_that_sent_them(lines, alice, queued_tasks) -> None:
    sandbox = ApiClient(alice).launch()
    message = queued_tasks.SimpleQueue("celery").get_nowait()
    requested = next(line for line in lines("journal") if line["kind"] == "requested")

    assert message.headers["argsrepr"] == repr((sandbox["id"],))
    assert message.headers["__django_structlog__"]["request_id"] == requested["request_id"]
    # The worker binds this context when it starts the task.
    assert bind_extra_task_metadata.has_listeners()


def test_all_log_lines_of_a_sandbox_request_contain_the_sandbox(lines, alice) -> None:
    sandbox = launch(alice)
    ApiClient(alice).get(f"/sandboxes/{sandbox.public_id}")
    finished = lines("request_finished")[-1]

    assert finished["sandbox"] == sandbox.public_id


def test_log_lines_of_a_sweep_and_its_tasks_contain_its_id(lines, alice, runtime) -> None:
    sandbox = launch(alice)
    runtime.stop_service(sandbox.public_id, "api", 3)
    sweep()
    swept = lines("swept")[-1]
    ended = [line for line in lines("journal") if line["kind"] == "ending"]

    assert {line["sweep"] for line in ended} == {swept["sweep"]}
    assert swept["actions"] == {"fail": 1}


def test_operators_actions_are_logged(lines, admin_client, alice, olga) -> None:
    run_action(admin_client, "suspend", alice, reason="Mining coins.")
    line = lines("operator_act")[-1]

    assert (line["act"], line["by"], line["subject"]) == ("suspend", olga.pk, alice.pk)
    assert line["request_id"]


def test_a_successful_sweep_by_cron_logs_nothing(capfd, alice, lines) -> None:
    launch(alice)
    capfd.readouterr()
    call_command("reap_sandboxes")

    assert capfd.readouterr().err == ""
    assert lines("swept") == []


WRITE = """
import django, logging, structlog
django.setup()
try:
    raise ValueError("it broke")
except ValueError:
    logging.getLogger("django.request").exception("A request failed.")
    structlog.get_logger("sandboxes").exception("sweep_step_failed", sandbox="sbx_1")
"""


def test_json_logs_have_one_object_per_line_including_tracebacks(tmp_path) -> None:
    environment = os.environ | {"LOG_FORMAT": "json", "VAR_DIR": str(tmp_path)}
    written = subprocess.run(
        [sys.executable, "-c", WRITE],
        cwd=ROOT,
        env=environment | {"DJANGO_SETTINGS_MODULE": "sandboxportal.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    logged = [json.loads(line) for line in written.stderr.splitlines()]
    assert [line["event"] for line in logged] == ["A request failed.", "sweep_step_failed"]
    assert all("ValueError: it broke" in line["exception"] for line in logged)
    assert all({"timestamp", "level", "logger"} <= line.keys() for line in logged)
