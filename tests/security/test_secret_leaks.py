"""Search for a sandbox's secrets everywhere that its lifecycle leaves traces."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from kombu import Connection

from sandboxes import actions, blueprints
from sandboxes.models import EndReason, State
from sandboxes.runtime import EngineRefused
from sandboxes.worker import provisioning, resets
from sandboxes.worker import tasks as worker_tasks
from tests.harness.queue import queued_messages
from tests.helpers.admin import page_of, run_action
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import event_kinds, reload, sweep
from tests.helpers.stored_values import everything_at_rest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.models import Sandbox
    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.store]

ADMIN_PAGES = ["", "sandboxes/sandbox/", "sandboxes/event/", "sandboxes/auditentry/"]
ADMIN_PAGES += ["sandboxes/auditentry/export/", "sandboxes/apitoken/", "sandboxes/webhookdelivery/"]
PAGES = ["", "card/", "journal/", "logs/?service=api", "reset/", "destroy/", "api/", "nothing/"]
CALLS = ["", "/events", "/logs?service=api", "/logs?service=nothing", "/usage", "/nothing"]


def body(response: Any) -> str:
    return str(b"".join(response).decode() + str(response.headers))


class Life:
    """One sandbox, and everything written or shown about it except its credentials."""

    def __init__(self, alice: User, runtime: MemoryRuntime, queue: Connection) -> None:
        self.alice, self.runtime, self.queue = alice, runtime, queue
        self.traces: dict[str, str] = {}
        self.sandbox, _ = actions.launch_sandbox(alice, actions.LaunchRequest(name="Checkout"))
        self.secrets = [*reload(self.sandbox).secrets.values()]
        self.web = Client(raise_request_exception=False)
        self.web.force_login(alice)
        self.program = ApiClient(alice)

    @property
    def row(self) -> Sandbox:
        return reload(self.sandbox)

    def trace(self, name: str, text: str) -> None:
        self.traces[f"{name} ({self.row.state})"] = text

    def live(self) -> None:
        """Launch, use and read the sandbox, with verbose logs."""
        provisioning.provision(self.row)
        for service in ("api", "db"):
            self.runtime.write_log(self.sandbox.public_id, service, " ".join(self.secrets))
        shown = self.program.get(f"/sandboxes/{self.sandbox.public_id}/credentials")
        assert any(value in shown.content.decode() for value in self.secrets)
        self.answer_log_requests()
        sweep()

    def answer_log_requests(self) -> None:
        """Run the log requests, whose results wait in the cache."""
        answers = [
            worker_tasks.read_logs(self.sandbox.public_id, name, 50) for name in ("api", "db")
        ]
        assert all("•••" in answer["text"] for answer in answers)
        self.trace("log", json.dumps(answers))

    def fail_reset(self) -> None:
        reset = blueprints.load("billing").reset
        message = f"connection to {self.secrets[0]} refused"
        self.runtime.command_results[tuple(reset.command_for("memory"))] = 1, message
        actions.reset(self.row, self.alice)
        with mock.patch.object(self.runtime, "recreate", side_effect=EngineRefused(message)):
            resets.reset(self.row)

    def look(self, admin_client: Client) -> None:
        """Read every page and API response about the sandbox."""
        address, name = f"/sandboxes/{self.sandbox.public_id}/", self.sandbox.public_id
        for page in PAGES:
            self.trace(page, body(self.web.get(address + page)))
        for call in CALLS:
            self.trace(f"api {call}", body(self.program.get(f"/sandboxes/{name}{call}")))
        for page in ("/", "/history/", "/api/v1/openapi.json"):
            self.trace(page, body(self.web.get(page)))
        for page in [*(f"/admin/{one}" for one in ADMIN_PAGES), page_of(self.row)]:
            self.trace(page, body(admin_client.get(page)))
        self.trace("metrics", body(admin_client.get("/metrics")))
        self.trace("readyz", body(self.web.get("/readyz")))
        self.trace("database", everything_at_rest())
        self.trace("mails", "".join(f"{one.subject}{one.body}" for one in mail.outbox))
        self.trace("cache", str(getattr(cache, "_cache", "")))
        self.trace("queue", queued_messages(self.queue))

    def found(self) -> list[str]:
        return [name for name, text in self.traces.items() for one in self.secrets if one in text]


@pytest.fixture
def life(alice: User, runtime: MemoryRuntime, queued_tasks: Connection) -> Life:
    return Life(alice, runtime, queued_tasks)


@pytest.fixture
def written(caplog, capfd) -> Iterator[Callable[[], str]]:
    """Return everything written to logs, stdout and stderr, at any level."""
    caplog.set_level(logging.DEBUG)

    def read() -> str:
        out = capfd.readouterr()
        return caplog.text + out.out + out.err

    return read  # type: ignore[return-value]


@pytest.mark.slow
def test_a_lifecycle_leaks_no_secret(life: Life, admin_client, written) -> None:
    life.look(admin_client)
    life.live()
    life.fail_reset()
    life.look(admin_client)
    run_action(admin_client, "extend", life.row, minutes="20", reason="Demo.")
    life.runtime.stop_service(life.sandbox.public_id, "api", 3)
    sweep()
    life.trace("failure", json.dumps(life.row.failure))
    life.look(admin_client)
    life.trace("logs", written())

    assert (life.row.state, life.row.end_reason) == (State.FAILED, EndReason.CRASHED)
    assert {"credentials_read", "reset_failed", "extended", "ending"} <= set(event_kinds(life.row))
    assert sum(bool(text) for text in life.traces.values()) > 60
    assert len(life.secrets) >= 3
    assert life.found() == []


@pytest.mark.parametrize("debug", [False, True])
def test_an_internal_error_leaks_no_secret(
    life: Life, written, monkeypatch, settings, debug: bool
) -> None:
    settings.DEBUG = debug
    life.live()

    def stumble(self: object, secrets: dict[str, str], *_: object) -> None:
        everything = dict(secrets)
        raise RuntimeError(f"{len(everything)} secrets in hand")

    monkeypatch.setattr("sandboxes.blueprints.Blueprint.fill_credentials", stumble)
    page = life.web.post(
        f"/sandboxes/{life.sandbox.public_id}/credentials/", {"typed": life.secrets[0]}
    )
    answer = life.program.get(f"/sandboxes/{life.sandbox.public_id}/credentials")
    life.trace("page", body(page))
    life.trace("answer", body(answer))
    life.trace("logs", written())

    assert (page.status_code, answer.status_code) == (500, 500)
    assert "secrets in hand" in life.traces["logs (running)"]
    assert ("everything" in life.traces["page (running)"]) == debug
    assert life.found() == []
