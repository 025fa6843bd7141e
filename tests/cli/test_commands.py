"""The command line, against a portal that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from sandbox_client import protocol, synchronous
from sandbox_client.commands import inspect
from sandbox_client.errors import PortalUnreachable
from sandbox_client.heartbeat import Heartbeat
from sandbox_client.protocol import Call

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.models import Event, Sandbox, State
from tests.cli.conftest import COMMAND, Run
from tests.gateway.owner_only import owner_only_blueprint
from tests.helpers.scenarios import sweep
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

PORTAL_TOKEN = "Portal-Token: "
PRINT_URL = [sys.executable, "-c", "import os; print(os.environ['API_URL'])"]


def test_a_sandbox_is_launched_used_and_removed(sandbox: Run) -> None:
    up = sandbox("up", "--name", "checkout", "--ttl", "30m", "-m", "job=4711", "--json")
    assert up.returncode == 0, up.stderr
    launched = json.loads(up.stdout)
    assert (launched["state"], launched["name"]) == ("running", "checkout")

    listed = sandbox("ls", "-m", "job=4711").stdout.splitlines()
    assert listed[0].split() == ["ID", "NAME", "BLUEPRINT", "STATE", "ENDS", "IN"]
    assert listed[-1].split()[:4] == [launched["id"], "checkout", launched["blueprint"], "running"]

    variables = json.loads(sandbox("env", "--format", "json").stdout)
    assert variables["API_URL"] == launched["endpoints"]["api"].rstrip("/")
    assert f"export API_URL={variables['API_URL']}\n" in sandbox("env", "--format", "shell").stdout

    assert sandbox("extend", "checkout", "--by", "1h").returncode == 0
    again = sandbox("extend", launched["id"], "--by", "1h")
    assert (again.returncode, again.stdout) == (5, "")
    assert "Each sandbox can be extended once" in again.stderr
    assert json.loads(sandbox("reset", "--json").stdout)["reset_pending"] is False
    saved = json.loads(sandbox("save", "before", "--json").stdout)
    assert json.loads(sandbox("restore", "before", "--json").stdout)["id"] == launched["id"]
    assert saved["id"] in sandbox("saves").stdout
    copy = json.loads(sandbox("up", "--from", "before", "--json").stdout)
    assert copy["launched_from"] == saved["id"]
    assert sandbox("rm", copy["id"]).returncode == 0

    assert sandbox("rm").returncode == 0
    assert Sandbox.objects.get(public_id=launched["id"]).state == State.DESTROYED


def test_run_passes_on_output_and_exit_code_and_leaves_nothing(sandbox: Run) -> None:
    done = sandbox("run", "--", *PRINT_URL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("http://")
    assert Sandbox.objects.get().end_reason == "user"

    for command, code in (
        ([sys.executable, "-c", "raise SystemExit(7)"], 7),
        (["no-such-command"], 127),
        ([str(Path(__file__))], 126),
    ):
        assert sandbox("run", "--", *command).returncode == code
    assert not Sandbox.objects.active().exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_that_is_interrupted_leaves_nothing(
    environment: dict[str, str], number: signal.Signals
) -> None:
    sleeping = [sys.executable, "-u", "-c", "import time; print('ready'); time.sleep(60)"]
    # A shell starts background jobs with SIGINT ignored, and programs inherit that.
    with subprocess.Popen(
        ["env", "--default-signal", *COMMAND, "run", "--", *sleeping],
        env=environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, number)
        assert process.wait(timeout=30) in (1, 128 + number)
    assert Sandbox.objects.get().end_reason == "user"


def test_run_that_is_killed_is_ended_by_its_heartbeat(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [*COMMAND, "run", "--heartbeat", "30", "--", "cat"], env=environment, stdin=subprocess.PIPE
    ) as process:
        read = Event.objects.filter(kind="credentials_read")
        wait_for(read.exists, "the command runs", 30)
        process.kill()
    found = Sandbox.objects.get()
    assert (found.state, found.heartbeat_seconds) == (State.RUNNING, 30)
    Sandbox.objects.update(heartbeat_expires_at=clock.now())
    sweep()
    assert Sandbox.objects.get().end_reason == "heartbeat"


@pytest.mark.parametrize(
    ("arguments", "changed", "code", "words"),
    [
        (["ls"], {"SANDBOX_TOKEN": "sbp_wrong"}, 3, "Create a new one"),
        (["ls"], {"SANDBOX_TOKEN": ""}, 3, "sandbox login"),
        (["ls"], {"SANDBOX_URL": "http://127.0.0.1:9"}, 7, "can't be reached"),
        (["show", "sbx_0123456789abcdef"], {}, 4, "not found"),
        (["rm"], {}, 1, "sandbox up"),
        (["up", "--ttl", "5m"], {}, 1, "from 15 to"),
        (["up", "--ttl", "soon"], {}, 2, "such as 30m"),
        (["up", "unknown"], {}, 1, "Unknown blueprint"),
        (["up", "-p", "x"], {}, 2, "NAME=VALUE"),
        (["run", "-b", "unknown", "--", "true"], {}, 125, "Unknown blueprint"),
    ],
)
def test_each_mistake_has_its_sentence_and_exit_code(
    sandbox: Run, arguments: list[str], changed: dict[str, str], code: int, words: str
) -> None:
    done = sandbox(*arguments, **changed)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_token_that_is_read_from_standard_input_is_stored_for_its_owner_alone(
    sandbox: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    url, token = environment["SANDBOX_URL"], environment["SANDBOX_TOKEN"]
    without = {"SANDBOX_URL": "", "SANDBOX_TOKEN": ""}
    done = sandbox("login", url, "--token", standard_input=f"{token}\n", **without)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "config" / "sandbox-client" / "sign-in.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in done.stdout + done.stderr

    assert json.loads(sandbox("whoami", "--json", **without).stdout)["active"] == 0
    assert sandbox("logout", **without).returncode == 0
    assert not file.exists()


def test_up_that_is_interrupted_while_it_launches_leaves_nothing(
    sandbox: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(client: synchronous.Client, call: Call) -> None:
        client.send(call)
        raise KeyboardInterrupt

    monkeypatch.setattr(synchronous.Client, "_send_twice", interrupted)
    assert sandbox("up").returncode == 130
    assert Sandbox.objects.get().end_reason == "user"


def test_run_keeps_the_exit_code_if_the_sandbox_can_not_be_destroyed(
    sandbox: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(launched: synchronous.Sandbox) -> None:
        launched.stop_heartbeat()
        raise PortalUnreachable("The portal can't be reached.")

    monkeypatch.setattr(synchronous.Sandbox, "destroy", unreachable)
    done = sandbox("run", "--", sys.executable, "-c", "raise SystemExit(3)")
    assert done.returncode == 3
    assert "the portal ends it in 60 s. (The portal can't be reached.)" in done.stderr


def test_a_launch_is_answered_before_its_first_heartbeat_is_due() -> None:
    call = protocol.launch(None, heartbeat_seconds=30, idempotency_key="x", wait=120)
    assert call.headers["Prefer"] == "wait=10"


def test_heartbeats_continue_after_the_portal_was_unreachable() -> None:
    sent: list[int] = []

    def send() -> None:
        sent.append(1)
        raise PortalUnreachable("The portal can't be reached.")

    heartbeat = Heartbeat(send, 0.01)
    wait_for(lambda: len(sent) > 2, "heartbeats are sent", 10)
    heartbeat.stop()


def test_logs_that_are_followed_end_with_the_sandbox(
    sandbox: Run, monkeypatch: pytest.MonkeyPatch, alice: User
) -> None:
    sandbox("up")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        assert not pauses, "the sandbox has ended"
        pauses.append(seconds)
        actions.destroy(Sandbox.objects.get(), alice)

    monkeypatch.setattr(inspect, "time", SimpleNamespace(sleep=pause))
    assert sandbox("logs", "-f", "-s", "api").returncode == 0
    assert pauses


def test_a_name_may_look_like_an_id(sandbox: Run) -> None:
    sandbox("up", "--name", "sbx_checkout")
    shown = sandbox("show", "sbx_checkout", "--json")
    assert json.loads(shown.stdout)["name"] == "sbx_checkout"


def test_curl_gets_the_portals_token_only_for_a_sandbox_of_its_owner_alone(
    sandbox: Run, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent: list[str] = []

    def read_headers(_: str, arguments: list[str]) -> None:
        sent.append(Path(arguments[arguments.index("-H") + 1][1:]).read_text())
        raise SystemExit

    monkeypatch.setattr("os.execv", read_headers)
    sandbox("up", "--name", "open")
    sandbox("curl", "--sandbox", "open", "/v1/plans")
    settings.SANDBOX_DOMAIN = "sandboxes.example.net"
    owner_only_blueprint(settings, tmp_path)
    sandbox("up", "tiny", "--name", "mine")
    sandbox("curl", "--sandbox", "mine", "/")
    assert sent[0].startswith("Authorization: Bearer ") and PORTAL_TOKEN not in sent[0]
    assert sent[1] == f"{PORTAL_TOKEN}{os.environ['SANDBOX_TOKEN']}\n"
