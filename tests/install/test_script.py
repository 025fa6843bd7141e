"""deploy/install.sh on a bare Debian (`make test-install`) and under systemd (`make test-vm`)."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.harness.portal import ROOT
from tests.helpers.wait import wait_for
from tests.install.conftest import VIRTUAL
from tests.install.machine import Machine
from tests.install.source import copy_source, write_source
from tests.install.virtual_machine import VirtualMachine
from tests.install.visitor import DOMAIN, PORTAL, Visitor, use_a_sandbox

LAUNCH_INTERVAL_SECONDS = 1.0
PAGE_INTERVAL_SECONDS = 2.0
QUOTA_EXCEEDED = 429
FACTS = {
    "system": ". /etc/os-release && echo $PRETTY_NAME",
    "kernel": "uname -r",
    "init": "cat /proc/1/comm",
    "control groups": "stat -fc %T /sys/fs/cgroup",
    "engine": "docker version --format '{{.Server.Version}}'",
    "Python": "python3 -c 'import platform; print(platform.python_version())'",
}
"""Commands that tell what a machine has."""
CURRENT = "/opt/sandbox-portal/current"
INSTALL = f"cd source && deploy/install.sh --site-url https://{PORTAL} --sandbox-domain {DOMAIN}"
OPTIONS = "--development-ca --set SANDBOX_MAX_PER_USER=100 --set SANDBOX_LAUNCHES_PER_HOUR=0"


def visitor_of(machine: Machine, folder: Path) -> Visitor:
    machine.run("sandbox-portal manage create_demo_accounts")
    accounts = json.loads(machine.read_text("/var/lib/sandbox-portal/demo-accounts.json"))
    authority = folder / "ca.pem"
    authority.write_text(machine.read_text("/etc/sandbox-portal/tls/ca.pem"))
    return Visitor(machine.address, authority, accounts["developer"])


@dataclass
class Installed:
    machine: Machine
    visitor: Visitor
    seconds: float
    """How long it took from the bare machine until a sandbox was destroyed."""


@pytest.fixture(scope="module")
def installed(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    copy_source(machine)
    started = time.monotonic()
    machine.run(f"{INSTALL} {OPTIONS}", seconds=machine.max_seconds)
    visitor = visitor_of(machine, tmp_path_factory.mktemp("authority"))
    use_a_sandbox(visitor)
    return Installed(machine, visitor, time.monotonic() - started)


def test_a_bare_machine_has_a_portal_behind_tls_in_time(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nInstalled and used in {installed.seconds:.0f} s")
    assert installed.seconds <= installed.machine.max_seconds


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
    """One launch per second, and pages that are open, each in a thread of its own.

    On a machine that is slower by a factor, the pauses are as many times as long.
    """

    visitor: Visitor
    slowness: float = 1
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
        while not self.stopped.wait(self.slowness * LAUNCH_INTERVAL_SECONDS):
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
        while not self.stopped.wait(self.slowness * PAGE_INTERVAL_SECONDS):
            for path in ("/", "/history/", "/accounts/email/"):
                answer = self._count(path, partial(browser.get, path))
                if answer and answer.is_redirect:
                    self.failures.append(f"{path}: signed out")

    def lost(self) -> list[str]:
        return [repr(one.exception()) for one in self.launches if one.exception()]


def copy_newer_source(machine: Machine, source: Path) -> None:
    """Copy the source as a later version has it: with a migration, and another style sheet."""
    write_source(source)
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
    machine.copy_tree(source, "/root/newer")


def test_upgrade_and_rollback_lose_no_launch_and_answer_without_errors(
    installed: Installed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, visitor = installed.machine, installed.visitor
    copy_newer_source(machine, tmp_path)
    kept = visitor.launch()
    before = machine.link_target(CURRENT)
    with Load(visitor, machine.slowness) as load:
        time.sleep(5 * machine.slowness)
        machine.run("cd newer && deploy/install.sh upgrade", seconds=machine.max_seconds)
        assert "9." in machine.link_target(CURRENT)
        time.sleep(5 * machine.slowness)
        machine.run("cd newer && deploy/install.sh rollback")
        assert machine.link_target(CURRENT) == before
        time.sleep(5 * machine.slowness)
    with capsys.disabled():
        print(f"\n{len(load.launches)} launches; answers: {dict(load.statuses)}")
    assert load.failures == []
    assert load.lost() == []
    assert visitor.plans(kept) == 5
    visitor.destroy(kept)


@pytest.mark.parametrize("machine", [VIRTUAL], indirect=True)
def test_the_limits_of_a_sandbox_are_in_force_in_control_groups_of_version_2(
    installed: Installed,
) -> None:
    sandbox = installed.visitor.launch()
    limits = {name: limits_of(installed.machine, sandbox["id"], name) for name in ("api", "db")}
    installed.visitor.destroy(sandbox)
    memory, cpus, pids = (sum(values) for values in zip(*limits.values(), strict=True))
    assert (memory, cpus) == (sandbox["limits"]["memory_mb"], sandbox["limits"]["cpus"])
    assert pids > 0


def limits_of(machine: Machine, sandbox_id: str, service: str) -> tuple[float, float, int]:
    """Return the memory in MB, the CPUs and the processes that the kernel allows a service."""
    labels = f"sandboxportal.sandbox={sandbox_id}", f"sandboxportal.service={service}"
    filters = " ".join(f"--filter label={label}" for label in labels)
    group = machine.run(
        f"pid=$(docker inspect --format '{{{{.State.Pid}}}}' $(docker ps --quiet {filters}))"
        " && cd /sys/fs/cgroup/$(cut -d: -f3 /proc/$pid/cgroup)"
        " && cat memory.max cpu.max pids.max"
    ).stdout.split()
    memory, quota, period, pids = map(int, group)
    return memory / 2**20, quota / period, pids


@pytest.mark.parametrize("machine", [VIRTUAL], indirect=True)
def test_after_a_reboot_the_portal_and_new_sandboxes_work(installed: Installed) -> None:
    assert isinstance(installed.machine, VirtualMachine)
    kept = installed.visitor.launch()
    installed.machine.reboot()
    wait_for(installed.visitor.is_answered, "the portal answers", installed.machine.max_seconds, 2)
    use_a_sandbox(installed.visitor)
    # The sweep has started it again, or has ended it with a reason.
    assert installed.visitor.sandbox(kept["id"])["state"] in ("running", "failed")
    installed.visitor.destroy(kept)


@pytest.mark.parametrize("machine", [VIRTUAL], indirect=True)
def test_the_machine_is_a_modern_one(
    installed: Installed, record_property: Callable[[str, object], None]
) -> None:
    facts = {name: installed.machine.run(command).stdout.strip() for name, command in FACTS.items()}
    for name, fact in facts.items():
        record_property(name, fact)
    assert facts["control groups"] == "cgroup2fs"
    assert facts["init"] == "systemd"
