"""`manage.py blueprint try`: one launch of a blueprint, without a portal or its database."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from django.core.management import CommandError, call_command

from sandboxes.authoring import scaffold, trial
from sandboxes.runtime import EngineRefused, NotReady
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.docker.names import INSTANCE
from tests.harness.runtimes import SUBNETS
from tests.helpers.blueprints import tiny, write

# No test here has access to a database.


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(write(tmp_path, tiny()).parent)


def run_trial(*arguments: str) -> None:
    call_command("blueprint", "try", *arguments)


def test_a_trial_launches_resets_measures_and_removes(folder, runtime, capsys) -> None:
    run_trial(folder)

    shown, progress = capsys.readouterr()
    assert "web    http://127.0.0.1:" in shown
    assert "token      tk_" in shown
    assert "Log of store (running):" in shown
    assert "of 384 MB" in shown
    assert "Reset:" in shown
    assert "by command" in shown
    assert "Waiting until the sandbox is ready." in progress
    assert [command for _, _, command in runtime.executed] == [("reset", "--now")]
    assert runtime.observe() == {}


def test_without_a_reset_command_the_services_are_recreated(tmp_path, runtime, capsys) -> None:
    content = tiny()
    del content["x-sandbox"]["reset"]
    run_trial(str(write(tmp_path, content)), "--json")

    outcome = json.loads(capsys.readouterr().out)

    assert outcome["reset_by"] == "recreating"
    assert runtime.recreated == [outcome["sandbox_id"]]
    assert outcome["endpoints"].keys() == {"web", "store"}
    assert list(outcome["step_seconds"]) == ["network", "containers", "ready"]


def test_a_kept_sandbox_stays_until_it_is_removed(folder, runtime, capsys) -> None:
    run_trial(folder, "--keep")
    [kept] = runtime.observe()
    assert f"try --remove {kept}" in capsys.readouterr().out

    run_trial(folder)
    assert f"Sandboxes of earlier trials: {kept}." in capsys.readouterr().err
    with pytest.raises(CommandError, match="no sandbox try_x"):
        run_trial("--remove", "try_x")
    assert list(runtime.observe()) == [kept]

    run_trial("--remove")
    assert runtime.observe() == {}


@pytest.mark.parametrize("keep", [[], ["--keep"]])
def test_a_failure_shows_each_services_log_and_leaves_nothing(
    folder, runtime, capsys, keep: list[str]
) -> None:
    runtime.fail_next("ready", NotReady("The service web didn't answer.", service="web"))

    with pytest.raises(CommandError, match="The service web didn't answer"):
        run_trial(folder, *keep)

    shown = capsys.readouterr().err
    assert "Log of web (running):" in shown
    assert "Log of store (running):" in shown
    assert runtime.observe() == {}


def test_logs_cannot_control_the_terminal(folder, runtime, capsys, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "logs", lambda *_: "\x1b]0;title\x07\x1b[2Jdone\r\nüber")
    run_trial(folder)
    runtime.fail_next("ready", NotReady("The service web didn't answer.", service="web"))
    with pytest.raises(CommandError):
        run_trial(folder)
    for shown in capsys.readouterr():
        assert "[2Jdone" in shown
        assert "über" in shown
        assert not {"\x1b", "\x07", "\r"} & {*shown}


def test_a_failing_reset_command_is_shown_with_its_output(folder, runtime) -> None:
    runtime.command_results["reset", "--now"] = (3, "no such table")
    with pytest.raises(CommandError, match=r"exit code 3: no such table\b.*x-sandbox.reset"):
        run_trial(folder)
    assert runtime.observe() == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_removes_everything(folder, runtime, monkeypatch, number: int) -> None:
    before = signal.getsignal(number)
    create = runtime.create

    def interrupted(*arguments: Any) -> Any:
        create(*arguments)
        os.kill(os.getpid(), number)

    def destroy(sandbox_id: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)  # Has no effect while the sandbox is removed.
        original_destroy(sandbox_id)

    original_destroy = runtime.destroy
    monkeypatch.setattr(runtime, "create", interrupted)
    monkeypatch.setattr(runtime, "destroy", destroy)

    with pytest.raises(CommandError, match="nothing is left running"):
        run_trial(folder)

    assert runtime.observe() == {}
    assert signal.getsignal(number) == before


def test_a_trial_takes_values_of_parameters(tmp_path, runtime, monkeypatch) -> None:
    content = tiny()
    content["x-sandbox"]["parameters"] = {
        "size": {"type": "integer", "default": 1, "maximum": 9},
        "debug": {"type": "boolean", "default": False},
    }
    content["services"]["web"]["command"] = "serve ${size} ${debug}"
    folder = str(write(tmp_path, content))
    created = []
    create = runtime.create

    def record(spec: Any, *rest: Any) -> Any:
        created.append(spec)
        return create(spec, *rest)

    monkeypatch.setattr(runtime, "create", record)

    run_trial(folder, "--parameter", "size=3")

    assert list(created[0].services[0].command) == ["serve", "3", "false"]
    for word, message in (
        ("colour=red", r"Unknown parameter colour\. The blueprint has: size, debug"),
        ("size=10", r"size has an invalid value\. Must be from"),
        ("size=x", r"size has an invalid value\. Must be an integer"),
        ("debug=1", r"debug has an invalid value\. Must be true or false"),
        ("size", r"size has no value\. Write NAME=VALUE"),
    ):
        with pytest.raises(CommandError, match=message):
            run_trial(folder, "--parameter", word)
    assert len(created) == 1
    assert runtime.observe() == {}


def test_a_missing_image_is_explained_before_anything_is_launched(folder, runtime) -> None:
    runtime.missing_images.add("sandboxportal/try-tiny.web")
    with pytest.raises(CommandError, match=r"doesn't have the image sandboxportal/try-tiny\.web"):
        run_trial(folder)
    assert runtime.observe() == {}


def test_what_could_not_be_removed_is_named(folder, runtime, monkeypatch) -> None:
    def refuse(_: str) -> None:
        raise EngineRefused("The engine refused to remove a container.")

    monkeypatch.setattr(runtime, "destroy", refuse)
    with pytest.raises(CommandError, match=r"refused to remove.*try --remove try_"):
        run_trial(folder)


def test_a_new_blueprint_is_valid_and_can_be_tried(tmp_path, runtime, capsys) -> None:
    call_command("blueprint", "new", "my-shop", "--directory", str(tmp_path))
    folder = str(tmp_path / "my-shop")
    call_command("blueprint", "check", folder)
    assert "note" not in capsys.readouterr().out
    run_trial(folder)
    assert "api_key  sk_test_" in capsys.readouterr().out

    with pytest.raises(CommandError, match="exists already"):
        call_command("blueprint", "new", "my-shop", "--directory", str(tmp_path))
    with pytest.raises(CommandError, match="can't be the name"):
        call_command("blueprint", "new", "../x", "--directory", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["my-shop"]


def test_a_faulty_blueprint_is_not_tried(tmp_path, runtime, capsys) -> None:
    content = tiny()
    content["services"]["web"]["privileged"] = True
    with pytest.raises(CommandError, match="1 problem"):
        run_trial(str(write(tmp_path, content)))
    assert "services.web.privileged" in capsys.readouterr().out


def test_the_template_is_part_of_the_package() -> None:
    assert {path.name for path in scaffold.TEMPLATE.iterdir()} >= {"compose.yaml", "sandbox.yaml"}


@pytest.fixture
def engine(settings) -> Iterator[DockerRuntime]:
    """Provide the runtime of a portal whose sandboxes are containers."""
    settings.SANDBOX_RUNTIME = "docker"
    settings.SANDBOX_INSTANCE = f"trial-tests-{os.getpid()}"
    settings.SANDBOX_SUBNETS = SUBNETS
    yield DockerRuntime.from_settings()
    runtime = trial.trial_runtime()
    for one in trial.kept(runtime):
        trial.remove(runtime, one)


@pytest.mark.engine
@pytest.mark.slow
def test_an_untouched_compose_file_is_tried_on_the_engine(
    tmp_path, engine, tiny_image, capsys
) -> None:
    """The reaper of a running portal sees nothing of it."""
    folder = tmp_path / "hello"
    folder.mkdir()
    serve = "echo hello >&2; mkdir /tmp/www; exec httpd -f -p 8000 -h /tmp/www"
    service = {"image": tiny_image, "user": "1000", "command": ["sh", "-c", serve], "ports": [8000]}
    content = {"services": {"web": service}}
    (folder / "compose.yaml").write_text(json.dumps(content))

    run_trial(str(folder), "--keep", "--json")
    outcome = json.loads(capsys.readouterr().out)
    assert engine.observe() == {}
    assert outcome["services"]["web"]["log"] == "hello"
    assert 0 < outcome["memory_mb"] < outcome["memory_limit_mb"]
    assert outcome["disk_mb"] is not None
    host, port = outcome["endpoints"]["web"].removeprefix("http://").split(":")
    socket.create_connection((host, int(port)), timeout=5).close()

    run_trial("--remove", outcome["sandbox_id"])
    assert trial.kept(trial.trial_runtime()) == []

    service["command"] = ["sh", "-c", "echo out of luck; exit 3"]
    (folder / "compose.yaml").write_text(json.dumps(content))
    with pytest.raises(CommandError, match="web"):
        run_trial(str(folder))
    shown = capsys.readouterr().err
    assert "Log of web (exited, exit code 3):\n  out of luck" in shown
    assert trial.kept(trial.trial_runtime()) == []


class InterruptAt(io.StringIO):
    """Interrupts the process while a trial is at a step."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step = step

    def write(self, text: str) -> int:
        if self.step in text:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return super().write(text)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("step", ["Starting the services", "Waiting until"])
def test_an_interruption_leaves_nothing_on_the_engine(
    tmp_path, settings, engine, tiny_image, step: str
) -> None:
    service = {
        "image": tiny_image,
        "user": "1000",
        "command": ["sleep", "100"],
        "stop_grace_period": "1s",
        "ports": [8000],
        "volumes": ["shared:/data"],
    }
    content = {"services": {"web": service, "worker": service}, "volumes": {"shared": {}}}
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "compose.yaml").write_text(json.dumps(content))
    start = time.monotonic()

    with pytest.raises(CommandError, match="nothing is left running"):
        call_command("blueprint", "try", str(folder), stderr=InterruptAt(step))

    assert time.monotonic() - start < 20
    mine = {"label": f"{INSTANCE}={settings.SANDBOX_INSTANCE}-try"}
    client = docker.from_env()
    assert client.containers.list(all=True, filters=mine) == []
    assert client.networks.list(filters=mine) == []
    assert client.volumes.list(filters=mine) == []


@pytest.mark.engine
def test_a_check_names_images_that_no_registry_has(tmp_path, engine, tiny_image, capsys) -> None:
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "compose.yaml").write_text(
        f"services:\n  web:\n    image: {tiny_image}\n    user: ada\n"
        "  db.main:\n    user: '1000'\n    image: 127.0.0.1:1/none:1\n"
    )
    start = time.monotonic()
    with pytest.raises(CommandError, match="2 problems"):
        call_command("blueprint", "check", str(folder))

    assert time.monotonic() - start < 5
    shown = capsys.readouterr().out
    assert f"problem: compose.yaml:2: services.web: The image {tiny_image} has no user" in shown
    assert (
        "problem: compose.yaml:7: services.db.main.image: The image 127.0.0.1:1/none:1 couldn't be "
        "pulled"
    ) in shown
