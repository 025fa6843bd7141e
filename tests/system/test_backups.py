"""The backup and restore instructions of docs/operations.md, applied to a running portal."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
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


@dataclass
class Restored:
    """A portal that was restored from a backup, and sandboxes from before and after it."""

    portal: Portal
    kept: dict[str, Any]
    destroyed_later: dict[str, Any]
    used_later: dict[str, Any]
    """In the pool at the time of the backup."""
    launched_later: dict[str, Any]


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    options = {
        "SANDBOX_RUNTIME": "process",
        "SANDBOX_POOL_SIZE": "1",
        # Sandboxes of one small process.
        "SANDBOX_BLUEPRINTS_DIR": str(ROOT / "tests" / "products"),
        "SANDBOX_DEFAULT_BLUEPRINT": "notes",
    }
    backup = tmp_path_factory.mktemp("backup")
    with running_portal(tmp_path_factory.mktemp("var"), **options) as portal:
        store = "PostgreSQL" if on_postgres(portal) else "SQLite"
        with portal.client("developer") as client, portal.client("developer2") as other:
            kept, destroyed = launch(client), launch(client)
            with closing(Console(portal.environment)) as console:
                console.sweep()
                wait_for(lambda: pooled(console), "a sandbox is in the pool")
                waiting = pooled(console)
            run(portal, commands(f"Back up {store}"), backup)
            client.delete(f"/sandboxes/{destroyed['id']}")
            used = launch(client)
            assert [used["id"]] == waiting
            launched = launch(other)
        portal.stop()
        run(portal, LOSE_DATABASE[on_postgres(portal)], backup)
        run(portal, commands(f"Restore {store}"), backup)
        with closing(Console(portal.environment)) as console:
            console.run(PREPARE)
            # The first sweep finds sandboxes missing from the engine, the second confirms it.
            console.sweep()
            console.sweep()
        portal.start()
        yield Restored(portal, kept, destroyed, used, launched)


def pooled(console: Console) -> list[str]:
    """Return the IDs of the sandboxes that wait in the pool."""
    ids = "Sandbox.objects.pooled().values_list('public_id', flat=True)"
    return console.run(f"from sandboxes.models import Sandbox; print(*{ids})").split()


@pytest.mark.store
def test_after_a_restore_the_sandboxes_match_the_database(restored: Restored) -> None:
    kept, destroyed = restored.kept, restored.destroyed_later
    used, launched = restored.used_later, restored.launched_later
    with restored.portal.client("developer") as client:
        assert fetch(client, kept)["state"] == "running"
        assert fetch(client, destroyed)["end_reason"] == "lost"
        keys = client.get(f"/sandboxes/{kept['id']}/credentials").json()
        key = {"X-Api-Key": keys["access_key"]}
        assert httpx2.get(f"{kept['endpoints']['rest']}/notes", headers=key).is_success
    with restored.portal.client("developer2") as client:
        assert client.get(f"/sandboxes/{launched['id']}").status_code == 404
    known = {one["id"] for one in (kept, destroyed, used, launched)}
    assert restored.portal.sandboxes() & known == {kept["id"]}


def test_a_sandbox_used_after_the_backup_is_not_launched_again(restored: Restored) -> None:
    used = restored.used_later
    with restored.portal.client("operator") as client:
        assert launch(client)["id"] != used["id"]
    assert used["id"] not in restored.portal.sandboxes()
