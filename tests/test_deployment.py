"""Production as `docs/operations.md` describes it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text()
MADE = {
    "SECRET_KEY": "made-as-the-page-says-" + "0123456789abcdefghijklmnopqrstuvwxyz",
    "SANDBOX_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "METRICS_TOKEN": "a token",
}


def documented_settings() -> dict[str, str]:
    [block] = re.findall(r"```sh\n(SECRET_KEY=.*?)```", PAGE, re.DOTALL)
    return dict(re.findall(r"^([A-Z_]+)=(\S+)", block, re.MULTILINE)) | MADE


@pytest.mark.engine
def test_check_deploy_has_nothing_to_say_to_the_documented_settings(tmp_path: Path) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=environment | documented_settings() | {"VAR_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout + checked.stderr


def test_the_cron_line_is_the_same_wherever_it_is_written() -> None:
    [line] = [
        line
        for line in (ROOT / "deploy" / "crontab").read_text().splitlines()
        if line.startswith("* * * * *")
    ]
    assert line in PAGE


def test_the_page_lists_every_variable_of_the_processes() -> None:
    sources = [ROOT / "Procfile", ROOT / "deploy" / "gunicorn.conf.py"]
    text = "\n".join(source.read_text() for source in sources)
    read = set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"environ\.get\(\"(\w+)", text))
    listed = set(re.findall(r"`([A-Z_]+)`", PAGE))
    assert read - {"VAR_DIR"} <= listed
