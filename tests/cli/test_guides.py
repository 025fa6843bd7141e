"""The guides for users: their commands exist, and the quickstart works as it is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from sandbox_client.commands import main

from sandboxes.documentation import contents
from sandboxes.models import Sandbox, State
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
GUIDES = ("quickstart", "cli", "ci", "mcp", "troubleshooting", "api")
COMMAND = re.compile(r"^ *(sandbox [a-z][^\n#…]*)|`(sandbox [a-z][^`…]*)`", re.MULTILINE)
USAGE_ERROR: Any = typer.BadParameter.__base__
LEFT_OUT = {"install", "login"}
"""What other tests follow: the package, and signing in."""


def commands(text: str) -> list[list[str]]:
    """Return the commands of a page, in blocks and in sentences, without their first word."""
    found = (block or inline for block, inline in COMMAND.findall(text))
    return [shlex.split(one.replace("COMMAND", "true"))[1:] for one in found]


def test_the_guides_for_users_are_pages_of_the_portal() -> None:
    assert set(GUIDES) <= {page.name for page in contents.pages(for_operator=False)}


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_exists_with_its_options(guide: str) -> None:
    program: Any = typer.main.get_command(main.app)
    for name, *arguments in commands((ROOT / "docs" / f"{guide}.md").read_text()):
        command = program.commands[name]
        try:
            command.make_context(name, arguments)
        except USAGE_ERROR as error:
            # A sentence may name the command without its arguments.
            if "Missing" not in error.format_message():
                pytest.fail(f"sandbox {name} {' '.join(arguments)}: {error.format_message()}")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_commands_of_the_quickstart_work_in_their_order(
    sandbox: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # The project of the test isn't this one.
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    (tmp_path / "test_own.py").write_text(
        "import os\ndef test_own():\n    assert os.environ['API_KEY']\n"
    )
    ran = []
    for name, *arguments in commands(QUICKSTART):
        if name not in LEFT_OUT:
            done = sandbox(name, *arguments)
            assert done.returncode == 0, (name, done.stdout, done.stderr)
            ran.append(name)
    assert {"up", "run", "extend", "reset", "rm"} <= set(ran)
    assert not Sandbox.objects.exclude(state__in=[State.DESTROYING, State.DESTROYED]).exists()
