"""Snippets and the explorer on a real sandbox."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from html import unescape
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import playwright
import pytest
from django.test import Client
from django.urls import reverse

from sandboxes.models import Sandbox
from sandboxes.reaper.observe import TRAFFIC_NOISE_BYTES
from sandboxes.runtime import NetworkBytes
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.views.sandbox_card import Card
from sandboxes.views.snippets import snippets
from tests.billing.harness import launch_billing
from tests.billing.test_on_engine import Sandbox as RealSandbox
from tests.helpers import scenarios
from tests.helpers.scenarios import reload
from tests.helpers.wait import wait_for
from tests.helpers.web import HTMX, text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [
    pytest.mark.engine,
    pytest.mark.django_db,
    pytest.mark.usefixtures("runtime"),
]

SUBNETS = IPv4Network("10.217.16.0/24")
TIME_LIMIT = 30
NODE = str(Path(playwright.__file__).parent / "driver" / "node")
"""Playwright includes Node.js."""
NEW_PLAN = '{"name": "Ours", "amount": "7", "currency": "EUR"}'
NEW_NAME = '{"name": "It\'s ours"}'


@pytest.fixture(scope="module")
def real() -> Iterator[RealSandbox]:
    runtime = DockerRuntime(f"tests-explorer-{secrets.token_hex(4)}", SUBNETS)
    found = launch_billing(RealSandbox, runtime)
    yield found
    found.api.close()
    runtime.destroy(found.id)


@pytest.fixture
def sandbox(alice: User, real: RealSandbox) -> Sandbox:
    """Return Alice's row with the addresses and secrets of the real sandbox."""
    row = scenarios.launch(alice)
    api, database = str(real.api.base_url), real.database_url
    row.addresses = {
        "api:8080": api.removeprefix("http://").rstrip("/"),
        "db:5432": database.partition("@")[2].partition("/")[0],
    }
    password = database.partition("developer:")[2].partition("@")[0]
    row.secrets |= {"API_KEY": real.credentials["api_key"], "DATABASE_PASSWORD": password}
    row.save()
    return row


@pytest.fixture
def pieces(sandbox: Sandbox, real: RealSandbox) -> dict[str, str]:
    return {one.key: one.text for one in snippets(Card(sandbox), real.credentials)}


def output(*command: str, typed: str = "", **environment: str) -> str:
    done = subprocess.run(
        command,
        input=typed,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_command_lists_the_plans(pieces: dict[str, str]) -> None:
    assert json.loads(output("sh", "-c", f"{pieces['curl']} -s"))["total"] == 5


def test_the_python_snippet_lists_the_plans(pieces: dict[str, str]) -> None:
    assert json.loads(output(sys.executable, "-I", "-c", pieces["python"]))["total"] == 5


@pytest.mark.parametrize("kind", ["commonjs", "module"])
def test_the_javascript_snippet_lists_the_plans(pieces: dict[str, str], kind: str) -> None:
    said = output(NODE, f"--input-type={kind}", "--eval", pieces["javascript"])
    assert "total: 5" in said


@pytest.mark.psql
def test_the_psql_command_counts_the_plans(pieces: dict[str, str]) -> None:
    assert output("sh", "-c", f"{pieces['psql']} -Atc 'SELECT count(*) FROM plans'") == "5\n"


def test_the_env_file_has_the_url_and_the_key(pieces: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(pieces["env"] + "\n")
    call = 'curl -s -H "Authorization: Bearer $API_KEY" "$API_URL/v1/plans"'
    said = output("sh", "-c", f"set -a; . {tmp_path}/.env; {call}")
    assert json.loads(said)["total"] == 5


def test_opening_the_explorer_is_not_activity(
    web: Client, sandbox: Sandbox, real: RealSandbox
) -> None:
    def counted() -> tuple[int, int]:
        """Return how much was sent to all, and to all but the portal."""
        row, facts = reload(sandbox), real.runtime.observe(real.id)[real.id]
        own = NetworkBytes(row.portal_received_bytes, row.portal_sent_bytes)
        assert facts.network
        return facts.network.activity_bytes, facts.network.without(own).activity_bytes

    def used() -> tuple[int, int]:
        """Return what was counted once the last packets of closed connections have passed."""

        def settled() -> tuple[int, int] | None:
            before = counted()
            time.sleep(0.3)
            return before if counted() == before else None

        found: tuple[int, int] = wait_for(settled, "no more packets pass")
        return found

    # The owner's own traffic is more than what is deducted for the portal in excess.
    for _ in range(10):
        real.api.get("/v1/plans")
    everyone, others = used()
    logged = real.runtime.logs(real.id, "api", 1000)
    for _ in range(5):
        assert web.get(reverse("explorer", args=[sandbox.public_id])).status_code == 200
    later, without_portal = used()
    assert later > everyone + 5000
    assert without_portal - others < TRAFFIC_NOISE_BYTES
    assert real.runtime.logs(real.id, "api", 1000) == logged
    sent = {"operation": "list_plans"}
    web.post(reverse("explorer-send", args=[sandbox.public_id]), sent, headers=HTMX)
    assert used()[1] - without_portal >= TRAFFIC_NOISE_BYTES
    assert "sandbox-portal-explorer" in real.runtime.logs(real.id, "api", 1000)


def test_the_explorer_works_on_a_real_sandbox(
    web: Client, sandbox: Sandbox, real: RealSandbox
) -> None:
    page = text(web.get(reverse("explorer", args=[sandbox.public_id])))
    assert "plan_team" in page and "5 of 5" in page
    address = reverse("explorer-send", args=[sandbox.public_id])
    new = {
        "operation": "createPlan",
        "body": NEW_PLAN,
    }
    shown = text(web.post(address, new, headers=HTMX))
    assert "201 Created" in shown and "6 of 6" in shown
    change = {
        "operation": "updatePlan",
        "path.id": "plan_team",
        "body": NEW_NAME,
    }
    command = web.post(address, {**change, "as": "curl"}, headers=HTMX).content.decode()
    (code,) = command.split("<code>")[1:]
    output("sh", "-c", unescape(code.partition("</code>")[0]) + " -s")
    assert real.api.ok("GET", "/v1/plans/plan_team")["name"] == "It's ours"
