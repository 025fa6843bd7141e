"""`sandbox listen`: events on the terminal, and forwarded to a program on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks

from sandboxes import actions
from tests.cli.conftest import Run
from tests.helpers.inbox import receive
from tests.helpers.scenarios import launch
from tests.helpers.servers import serving
from tests.streams.conftest import running

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


class Program(BaseHTTPRequestHandler):
    """A developer's program, which keeps what it gets."""

    got: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def program() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    Program.got = []
    server = HTTPServer(("127.0.0.1", 0), Program)
    with serving(server):
        yield f"127.0.0.1:{server.server_port}/hook", Program.got


@pytest.fixture
def streams(environment: dict[str, str], settings: Any) -> Iterator[None]:
    url = environment["SANDBOX_URL"]
    with running(STREAMS_PORTAL_URL=url, SITE_URL=url) as settings.STREAMS_URL:
        yield


def test_events_are_forwarded_signed_until_the_sandbox_ends(
    alice: User, sandbox: Run, streams: None, program: tuple[str, Any]
) -> None:
    url, got = program
    row = launch(alice)
    receive(row, "invoice.paid")
    actions.destroy(row, alice)
    done = sandbox("listen", row.public_id, "--forward-to", url, "--replay", "5m", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    types = ["sandbox.running", "invoice.paid", "sandbox.ended"]
    assert [line["type"] for line in lines] == types
    assert {line["delivery"]["status"] for line in lines} == {204}

    shown = sandbox("listen", row.public_id, "--forward-to", url, "--replay", "5m")
    secret = shown.stderr.partition("Signing secret: ")[2].strip()
    for headers, body in got:
        standardwebhooks.Webhook(secret).verify(body, headers)
    assert [json.loads(body)["type"] for _, body in got] == types * 2
    assert {len({headers["webhook-id"] for headers, _ in got})} == {3}
    assert "invoice.paid  → 204" in shown.stdout

    quiet = sandbox("listen", row.public_id, "--replay", "5m", "--type", "invoice.*")
    assert [line.split()[-1] for line in quiet.stdout.splitlines()] == ["invoice.paid"]


def test_a_program_that_does_not_answer_is_reported(
    alice: User, sandbox: Run, streams: None
) -> None:
    row = launch(alice)
    actions.destroy(row, alice)
    done = sandbox("listen", row.public_id, "--forward-to", "9", "--replay", "5m")
    assert done.returncode == 0
    assert "not delivered" in done.stdout


def test_a_portal_without_event_streams_says_so(sandbox: Run) -> None:
    done = sandbox("listen")
    assert done.returncode == 7
    assert "STREAMS_URL" in done.stderr


@pytest.mark.parametrize("url", ["ftp://localhost/hook", "http://"])
def test_an_address_that_is_none_is_a_wrong_usage(sandbox: Run, url: str) -> None:
    done = sandbox("listen", "--forward-to", url)
    assert done.returncode == 2
    assert "http://localhost:3000/hook" in done.stderr
