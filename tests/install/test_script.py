"""deploy/install.sh on a bare Debian: `make test-install`."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.harness.portal import ROOT
from tests.install.machine import Machine, bare_machine
from tests.install.source import copy_source
from tests.install.visitor import DOMAIN, PORTAL, Visitor, use_a_sandbox

pytestmark = pytest.mark.installation

MAX_SECONDS = 600
"""The bar for a bare machine to a sandbox that was used and destroyed."""
LAUNCH_INTERVAL_SECONDS = 1.0
PAGE_INTERVAL_SECONDS = 2.0
QUOTA_EXCEEDED = 429
INSTALL = f"cd source && deploy/install.sh --site-url https://{PORTAL} --sandbox-domain {DOMAIN}"
OPTIONS = "--development-ca --set SANDBOX_MAX_PER_USER=100 --set SANDBOX_LAUNCHES_PER_HOUR=0"


def visitor_of(machine: Machine) -> Visitor:
    machine.run("sandbox-portal manage create_demo_accounts")
    accounts = json.loads((machine.root / "var/lib/sandbox-portal/demo-accounts.json").read_text())
    authority = machine.root / "etc/sandbox-portal/tls/ca.pem"
    return Visitor(machine.address, authority, accounts["developer"])


@dataclass
class Installed:
    machine: Machine
    visitor: Visitor
    seconds: float
    """How long it took from the bare machine until a sandbox was destroyed."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, bare_debian: Path) -> Iterator[Installed]:
    with bare_machine(tmp_path_factory.mktemp("script"), bare_debian) as machine:
        copy_source(machine)
        started = time.monotonic()
        machine.run(f"{INSTALL} {OPTIONS}")
        visitor = visitor_of(machine)
        use_a_sandbox(visitor)
        yield Installed(machine, visitor, time.monotonic() - started)


def test_a_bare_machine_has_a_portal_behind_tls_within_ten_minutes(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nInstalled and used in {installed.seconds:.0f} s")
    assert installed.seconds <= MAX_SECONDS


def test_the_processes_run_as_users_of_their_own(installed: Installed) -> None:
    text = installed.machine.run(
        "for p in /proc/[0-9]*; do echo \"$(stat -c %U $p) $(tr '\\0' ' ' <$p/cmdline)\"; done"
    ).stdout
    users = {
        word: {
            line.split()[0] for line in text.splitlines() if word in line and "stat -c" not in line
        }
        for word in ("gunicorn", "celery", "reap_sandboxes", "docker_socket_proxy", "traefik")
    }
    assert users == {
        "gunicorn": {"portal-web"},
        "celery": {"portal"},
        "reap_sandboxes": {"portal"},
        "docker_socket_proxy": {"portal-engine"},
        "traefik": {"portal-gateway"},
    }


def test_only_those_who_need_them_read_settings_and_keys(installed: Installed) -> None:
    machine = installed.machine
    for user, path, may_read in (
        ("portal", "/etc/sandbox-portal.env", True),
        ("portal-web", "/etc/sandbox-portal.env", False),
        ("portal-gateway", "/etc/sandbox-portal.env", False),
        ("portal-gateway", "/etc/sandbox-portal/tls/portal.key", True),
        ("portal", "/etc/sandbox-portal/tls/portal.key", False),
        ("portal-web", "/etc/sandbox-portal/tls/portal.key", False),
        ("portal-web", "/var/lib/sandbox-portal", False),
        ("portal-web", "/run/sandbox-portal-engine", False),
    ):
        test = f"setpriv --reuid {user} --regid {user} --init-groups test -r {path}"
        assert (machine.run(test, check=False).returncode == 0) is may_read, (user, path)


def test_the_doctor_finds_no_error(installed: Installed) -> None:
    done = installed.machine.run("sandbox-portal manage doctor", check=False)
    assert done.returncode == 0, done.stdout


def test_the_documented_cron_line_sweeps(installed: Installed) -> None:
    [line] = [
        line
        for line in (ROOT / "deploy/crontab").read_text().splitlines()
        if line.startswith("* * * * *")
    ]
    assert installed.machine.run(line.split(maxsplit=6)[6]).stderr == ""


def test_a_second_run_changes_nothing(installed: Installed) -> None:
    again = installed.machine.run(f"{INSTALL} {OPTIONS}")
    assert "Nothing to change." in again.stdout, again.stdout


@dataclass
class Load:
    """One launch per second, and pages that are open, each in a thread of its own."""

    visitor: Visitor
    stopped: threading.Event = field(default_factory=threading.Event)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    launches: list[Future[None]] = field(default_factory=list)

    def __enter__(self) -> Load:
        # As many as may wait at once: a launch must not wait for a thread.
        self.pool = ThreadPoolExecutor(512)
        browsers = [self.visitor.browser() for _ in range(2)]
        self.threads = [threading.Thread(target=self._launch_each_second)]
        self.threads += [threading.Thread(target=self._open_pages, args=(one,)) for one in browsers]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.pool.shutdown()

    def _count(self, what: str, ask: Callable[[], httpx2.Response]) -> httpx2.Response | None:
        try:
            answer = ask()
        except httpx2.HTTPError as error:
            self.failures.append(f"{what}: {error!r}")
            return None
        self.statuses[answer.status_code] += 1
        if answer.is_server_error:
            self.failures.append(f"{what}: {answer.status_code} {answer.text[:200]}")
        return answer

    def _launch_each_second(self) -> None:
        while not self.stopped.wait(LAUNCH_INTERVAL_SECONDS):
            self.launches.append(self.pool.submit(self._launch))

    def _launch(self) -> None:
        answer = self._count("launch", lambda: self.visitor.api.post("/sandboxes", json={}))
        if answer is None or answer.status_code == QUOTA_EXCEEDED:
            # A slow machine has too many launches that wait; those weren't accepted.
            return
        if answer.status_code not in (201, 202):
            self.failures.append(f"launch: {answer.text}")
            return
        sandbox = self.visitor.running(answer.json()["id"], pause=2)
        path = f"/sandboxes/{sandbox['id']}"
        self._count("destroy", lambda: self.visitor.api.delete(path))

    def _open_pages(self, browser: httpx2.Client) -> None:
        while not self.stopped.wait(PAGE_INTERVAL_SECONDS):
            for path in ("/", "/history/", "/accounts/email/"):
                answer = self._count(path, partial(browser.get, path))
                if answer and answer.is_redirect:
                    self.failures.append(f"{path}: signed out")

    def lost(self) -> list[str]:
        return [repr(one.exception()) for one in self.launches if one.exception()]


def newer_source(machine: Machine) -> None:
    """Copy the source as a later version has it: with a migration, and another style sheet."""
    source = copy_source(machine, "newer")
    project = source / "pyproject.toml"
    project.write_text(project.read_text().replace('version = "', 'version = "9.', 1))
    migrations = source / "sandboxes/migrations"
    latest = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9000_later.py").write_text(
        "from django.db import migrations\n\n\n"
        "class Migration(migrations.Migration):\n"
        f'    dependencies = [("sandboxes", "{latest}")]\n'
        "    operations = [migrations.RunSQL("
        '"ALTER TABLE sandboxes_sandbox ADD COLUMN later text NULL")]\n'
    )
    for sheet in (source / "static").rglob("*.css"):
        sheet.write_text(sheet.read_text() + "\n/* later */\n")


def test_upgrade_and_rollback_lose_no_launch_and_answer_without_errors(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, visitor = installed.machine, installed.visitor
    newer_source(machine)
    kept = visitor.launch()
    before = (machine.root / "opt/sandbox-portal/current").readlink()
    with Load(visitor) as load:
        time.sleep(5)
        machine.run("cd newer && deploy/install.sh upgrade")
        assert "9." in str((machine.root / "opt/sandbox-portal/current").readlink())
        time.sleep(5)
        machine.run("cd newer && deploy/install.sh rollback")
        assert (machine.root / "opt/sandbox-portal/current").readlink() == before
        time.sleep(5)
    with capsys.disabled():
        print(f"\n{len(load.launches)} launches; answers: {dict(load.statuses)}")
    assert load.failures == []
    assert load.lost() == []
    assert visitor.plans(kept) == 5
    visitor.destroy(kept)
