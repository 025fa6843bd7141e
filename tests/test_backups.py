"""What docs/operations.md says of backups, done as it is written there, to a portal that runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.portal import ROOT, Portal, running_portal
from tests.postgres import programs

pytestmark = [pytest.mark.store, pytest.mark.slow]

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def commands(about: str) -> str:
    """The shell block that follows these words in the guide."""
    found = re.search(re.escape(about) + r".*?```sh\n(.*?)```", GUIDE, re.DOTALL)
    assert found, about
    return found[1]


@pytest.fixture
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with running_portal(tmp_path_factory.mktemp("var"), SANDBOX_RUNTIME="process") as running:
        yield running


def on_postgres(portal: Portal) -> bool:
    return "DATABASE_URL" in portal.environment


def run(portal: Portal, script: str, backup: Path) -> None:
    backup.mkdir(exist_ok=True)
    there = {"BACKUP": str(backup), "PATH": f"{programs()}:{portal.environment['PATH']}"}
    command = ["bash", "-euc", script]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=portal.environment | there,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def launch(client: httpx.Client) -> dict[str, Any]:
    sandbox: dict[str, Any] = client.post("/sandboxes", headers={"Prefer": "wait=60"}).json()
    assert sandbox["state"] == "running", sandbox
    return sandbox


def look(client: httpx.Client, sandbox: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = client.get(f"/sandboxes/{sandbox['id']}").json()
    return told


LOSE = {
    False: 'rm "$VAR_DIR"/portal.sqlite3*',
    True: 'psql "$DATABASE_URL" -qc "DROP SCHEMA public CASCADE; CREATE SCHEMA public"',
}


def test_after_a_restore_sandboxes_and_rows_agree_again(portal: Portal, tmp_path: Path) -> None:
    which = "PostgreSQL" if on_postgres(portal) else "SQLite"
    with portal.client("developer") as client:
        kept, ended = launch(client), launch(client)
        run(portal, commands(f"Back up {which}"), tmp_path / "backup")
        client.delete(f"/sandboxes/{ended['id']}")
        made = launch(client)
    portal.stop()
    run(portal, LOSE[on_postgres(portal)], tmp_path / "backup")
    run(portal, commands(f"Restore {which}"), tmp_path / "backup")
    assert portal.manage("prepare").returncode == 0
    # The first looks at what rows say and is not there, the next at what became of that.
    for _ in range(2):
        swept = portal.manage("reap_sandboxes")
    assert swept.returncode == 0, swept.stdout + swept.stderr
    portal.start()
    with portal.client("developer") as client:
        assert look(client, kept)["state"] == "running"
        assert look(client, ended)["end_reason"] == "lost"
        assert client.get(f"/sandboxes/{made['id']}").status_code == 404
        keys = client.get(f"/sandboxes/{kept['id']}/credentials").json()
        bearer = {"Authorization": f"Bearer {keys['api_key']}"}
        assert httpx.get(f"{kept['endpoints']['api']}/v1/plans", headers=bearer).is_success
    assert portal.sandboxes() == {kept["id"]}
