"""The backup and restore instructions of docs/operations.md, applied to a running portal."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.harness.portal import ROOT, Portal, running_portal
from tests.harness.postgres import programs
from tests.helpers.wait import wait_for
from tests.system.console import Console

pytestmark = pytest.mark.slow

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def commands(text: str) -> str:
    """Return the shell block that follows the text in the guide."""
    match = re.search(re.escape(text) + r".*?```sh\n(.*?)```", GUIDE, re.DOTALL)
    assert match, text
    return match[1]


@pytest.fixture
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with running_portal(tmp_path_factory.mktemp("var"), SANDBOX_RUNTIME="process") as running:
        yield running


def on_postgres(portal: Portal) -> bool:
    return "DATABASE_URL" in portal.environment


def run(portal: Portal, script: str, backup: Path) -> None:
    backup.mkdir(exist_ok=True)
    variables = {"BACKUP": str(backup), "PATH": f"{programs()}:{portal.environment['PATH']}"}
    command = ["bash", "-euc", script]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=portal.environment | variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def launch(client: httpx2.Client) -> dict[str, Any]:
    sandbox: dict[str, Any] = client.post("/sandboxes", headers={"Prefer": "wait=60"}).json()
    assert sandbox["state"] == "running", sandbox
    return sandbox


def fetch(client: httpx2.Client, sandbox: dict[str, Any]) -> dict[str, Any]:
    fetched: dict[str, Any] = client.get(f"/sandboxes/{sandbox['id']}").json()
    return fetched


PREPARE = "from django.core.management import call_command; call_command('prepare')"
LOSE_DATABASE = {
    False: 'rm "$VAR_DIR"/portal.sqlite3*',
    True: 'psql "$DATABASE_URL" -qc "DROP SCHEMA public CASCADE; CREATE SCHEMA public"',
}


@pytest.mark.store
def test_after_a_restore_the_sandboxes_match_the_database(portal: Portal, tmp_path: Path) -> None:
    store = "PostgreSQL" if on_postgres(portal) else "SQLite"
    with portal.client("developer") as client:
        kept, ended = launch(client), launch(client)
        run(portal, commands(f"Back up {store}"), tmp_path / "backup")
        client.delete(f"/sandboxes/{ended['id']}")
        launched_later = launch(client)
    portal.stop()
    run(portal, LOSE_DATABASE[on_postgres(portal)], tmp_path / "backup")
    run(portal, commands(f"Restore {store}"), tmp_path / "backup")
    with closing(Console(portal.environment)) as console:
        console.run(PREPARE)
        # The first sweep finds sandboxes missing from the engine, the second confirms it.
        console.sweep()
        console.sweep()
    portal.start()
    with portal.client("developer") as client:
        assert fetch(client, kept)["state"] == "running"
        assert fetch(client, ended)["end_reason"] == "lost"
        assert client.get(f"/sandboxes/{launched_later['id']}").status_code == 404
        keys = client.get(f"/sandboxes/{kept['id']}/credentials").json()
        bearer = {"Authorization": f"Bearer {keys['api_key']}"}
        assert httpx2.get(f"{kept['endpoints']['api']}/v1/plans", headers=bearer).is_success
    assert portal.sandboxes() == {kept["id"]}


@pytest.fixture
def pooling_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    options = {"SANDBOX_RUNTIME": "process", "SANDBOX_POOL_SIZE": "1"}
    with running_portal(tmp_path_factory.mktemp("var"), **options) as running:
        yield running


def test_a_sandbox_used_after_the_backup_is_not_launched_again(
    pooling_portal: Portal, tmp_path: Path
) -> None:
    portal = pooling_portal
    store = "PostgreSQL" if on_postgres(portal) else "SQLite"
    with closing(Console(portal.environment)) as console:
        console.sweep()
        wait_for(portal.sandboxes, "a sandbox is in the pool")
        (waiting,) = portal.sandboxes()
        wait_for(lambda: is_pooled(console, waiting), "the sandbox is ready")
    run(portal, commands(f"Back up {store}"), tmp_path / "backup")
    with portal.client("developer") as client:
        assert launch(client)["id"] == waiting
    portal.stop()
    run(portal, LOSE_DATABASE[on_postgres(portal)], tmp_path / "backup")
    run(portal, commands(f"Restore {store}"), tmp_path / "backup")
    with closing(Console(portal.environment)) as console:
        console.run(PREPARE)
        console.sweep()
    portal.start()
    with portal.client("operator") as client:
        assert launch(client)["id"] != waiting
    assert waiting not in portal.sandboxes()


def is_pooled(console: Console, sandbox_id: str) -> bool:
    query = f"Sandbox.objects.pooled().filter(public_id='{sandbox_id}').exists()"
    return console.run(f"from sandboxes.models import Sandbox; print({query})").strip() == "True"
