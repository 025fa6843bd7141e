"""A portal that runs, and the command line of a user who is signed in to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sandbox_client.commands import inspect, launch, lifecycle, listen, main, output, session

from sandboxes.accounts import api_tokens
from sandboxes.models import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer

    from sandboxes.runtime.memory import MemoryRuntime

CLIENT = Path(__file__).parents[2] / "sandboxes" / "cli"
COMMAND = [sys.executable, "-c", "from sandbox_client.commands.main import main; main()"]


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def environment(
    live_server: LiveServer,
    alice: User,
    runtime: MemoryRuntime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """Return the variables by which clients find the portal, which this process has, too."""
    variables = {
        "SANDBOX_URL": live_server.url,
        "SANDBOX_TOKEN": api_tokens.issue(alice, "cli", Scope.ALL)[1],
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, "PYTHONPATH": str(CLIENT)}


@pytest.fixture
def sandbox(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that runs the command line in this process, which saves its start."""

    def run(*arguments: str, standard_input: str = "", **changed: str) -> Result:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(output, "options", options := output.Options())
            for module in (main, inspect, launch, lifecycle, listen, session):
                patch.setattr(module, "options", options)
            patch.setattr(sys, "argv", ["sandbox", *arguments])
            patch.setattr(sys, "stdin", StringIO(standard_input))
            for name, value in changed.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main.main()
        return Result(int(ended.value.code or 0), *capfd.readouterr())

    return run
