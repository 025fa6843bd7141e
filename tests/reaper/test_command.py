"""`manage.py reap_sandboxes`, as cron and operators run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Timer

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from sandboxes.models import Sandbox, State, SweepStatus
from sandboxes.runtime import EngineRefused
from tests.helpers.scenarios import (
    expire,
    launch,
    reload,
    run_on_commit,
)

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


def reap(*arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and errors."""
    out, err = StringIO(), StringIO()
    try:
        with run_on_commit():
            call_command("reap_sandboxes", *arguments, stdout=out, stderr=err, no_color=True)
    except SystemExit as stop:
        return int(stop.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_one_sweep_reports_its_actions_and_exits_with_0(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)

    code, out, err = reap()

    assert (code, err) == (0, "")
    assert out == (
        f"{sandbox.public_id}: expire: Its lifetime ended.\n"
        "Sweep finished. Actions: 1, errors: 0.\n"
    )
    assert reload(sandbox).state == State.DESTROYED


def test_a_sweep_without_actions_reports_zero(runtime):
    assert reap() == (0, "Sweep finished. Actions: 0, errors: 0.\n", "")


def test_an_unreachable_engine_exits_with_1_and_a_clear_message(alice, runtime):
    launch(alice)
    runtime.unreachable = True

    code, out, err = reap()

    assert code == 1
    assert err.startswith("The engine can't be reached")
    assert "Actions: 0, errors: 1" in out


def test_a_failed_removal_exits_with_1_until_it_succeeds(alice, runtime, clock):
    sandbox = launch(alice)
    expire(sandbox)
    runtime.fail_next("destroy", EngineRefused("It is busy."))

    code, _, err = reap()
    assert (code, err) == (1, f"{sandbox.public_id} could not be removed: It is busy.\n")
    assert reap()[0] == 1
    clock.forward(seconds=5)
    assert reap()[0] == 0
    assert reload(sandbox).state == State.DESTROYED


def test_a_dry_run_only_reports(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)

    code, out, _ = reap("--dry-run")

    assert code == 0
    assert "Planned actions: 1" in out
    assert reload(sandbox).state == State.RUNNING
    assert SweepStatus.current().last_sweep_at is None


def test_json_output_contains_counts_and_lines(alice, runtime):
    sandbox = launch(alice)
    expire(sandbox)

    code, out, _ = reap("--json", "--dry-run")

    assert code == 0
    assert json.loads(out) == {
        "counts": {"expire": 1},
        "lines": [f"{sandbox.public_id}: expire: Its lifetime ended."],
        "errors": [],
        "dry_run": True,
    }


def test_json_output_contains_errors(runtime):
    runtime.unreachable = True

    code, out, _ = reap("--json")

    assert code == 1
    assert "can't be reached" in json.loads(out)["errors"][0]


def test_the_limit_on_expirations_can_be_changed(alice, runtime):
    rows = [launch(alice) for _ in range(3)]
    expire(*rows)

    code, _, err = reap("--max-endings", "1")
    assert code == 1
    assert "More than 1 sandboxes are due at once" in err
    assert reap("--max-endings", "0")[0] == 0
    assert {reload(row).state for row in rows} == {State.DESTROYED}


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--loop", "0"], "--loop must be more than 0"),
        (["--loop", "-3"], "--loop must be more than 0"),
        (["--loop", "nan"], "--loop must be more than 0"),
        (["--loop", "often"], "argument --loop"),
        (["--max-endings", "-1"], "--max-endings must be 0 or more"),
    ],
)
def test_an_invalid_option_is_reported_with_the_remedy(runtime, arguments, remedy):
    with pytest.raises(CommandError, match=remedy):
        reap(*arguments)


def test_the_loop_sweeps_repeatedly_until_it_is_stopped(alice, runtime, monkeypatch):
    from sandboxes.management.commands import reap_sandboxes

    sweeps = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def fail_then_stop():
        sweeps.append(len(sweeps))
        if len(sweeps) == 1:
            raise RuntimeError("the database restarts")
        os.kill(os.getpid(), signal.SIGTERM)
        return runtime_sweep()

    runtime_sweep = reap_sandboxes.Sweep().run
    monkeypatch.setattr(reap_sandboxes.Sweep, "run", lambda _: fail_then_stop())
    watchdog = Timer(30, os.kill, (os.getpid(), signal.SIGTERM))
    watchdog.start()
    try:
        code, out, err = reap("--loop", "0.01")
    finally:
        watchdog.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)

    assert code == 0
    assert sweeps == [0, 1]
    assert "The sweep failed: RuntimeError: the database restarts" in err
    assert "Sweeping every 0.01 s." in out


@pytest.fixture
def manage(tmp_path: Path, database_url: str) -> Callable[..., subprocess.Popen[str]]:
    """Start a management command as a process with its own database, as cron does."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url,
        "VAR_DIR": str(tmp_path),
        "SANDBOX_RUNTIME": "memory",
    }

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            # A system check warns of the fake runtime.
            [sys.executable, "manage.py", *arguments, "--skip-checks"],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


@pytest.mark.slow
def test_overlapping_cron_runs_succeed_and_a_loop_stops_on_sigterm(manage):
    running = [manage("reap_sandboxes") for _ in range(2)]
    loop = manage("reap_sandboxes", "--loop", "60")
    assert loop.stdout
    assert loop.stdout.readline() == "Sweeping every 60 s.\n"
    loop.send_signal(signal.SIGTERM)

    for process in running:
        out, err = process.communicate(timeout=60)
        assert (out, err) == ("Sweep finished. Actions: 0, errors: 0.\n", "")
        assert process.returncode == 0
    assert loop.wait(60) == 0


def test_without_tables_it_exits_with_a_message(runtime):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {Sandbox._meta.db_table} RENAME TO renamed")
    with pytest.raises(CommandError, match=r"Couldn't read the database; .*(no such|not exist)"):
        reap()


def test_the_heartbeat_records_the_end_of_the_last_sweep(runtime, clock):
    reap()
    assert SweepStatus.current().last_sweep_at == timezone.now()
    clock.forward(minutes=5)
    runtime.unreachable = True
    reap()

    status = SweepStatus.current()
    assert status.last_sweep_at == timezone.now()
    assert status.last_sweep_error.startswith("The engine can't be reached")
    assert timezone.now() - status.last_sweep_at < timedelta(seconds=1)
