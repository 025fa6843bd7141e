"""Renamed settings are read from their old environment variables for one release."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandboxes.checks import runtime

ROOT = Path(__file__).resolve().parents[2]
PRINT_SETTING = (
    "import sys; from django.conf import settings; print(getattr(settings, sys.argv[1]))"
)
RENAMED = {
    "OPERATORS_NEED_SECOND_FACTOR": ("OPERATORS_REQUIRE_MFA", "True"),
    "SANDBOX_LAUNCHES_AT_ONCE": ("SANDBOX_MAX_CONCURRENT_LAUNCHES", "7"),
    "SANDBOX_MEMORY_FLOOR_MB": ("SANDBOX_MIN_FREE_MEMORY_MB", "7"),
    "SANDBOX_REAPER_MAX_ENDINGS": ("SANDBOX_SWEEP_MAX_EXPIRATIONS", "7"),
}


def read_setting(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRINT_SETTING, name],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "sandboxportal.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize("old", RENAMED)
def test_the_old_name_still_sets_the_value_and_warns(old: str) -> None:
    new, value = RENAMED[old]

    result = read_setting(new, **{old: value})

    assert result.stdout.strip() == value
    assert f"FutureWarning: {old} is deprecated; set {new} instead." in result.stderr


def test_the_new_name_takes_precedence() -> None:
    result = read_setting(
        "SANDBOX_SWEEP_MAX_EXPIRATIONS",
        SANDBOX_SWEEP_MAX_EXPIRATIONS="1",
        SANDBOX_REAPER_MAX_ENDINGS="2",
    )

    assert result.stdout.strip() == "1"


def test_an_old_name_in_the_installation_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("SANDBOX_REAPER_MAX_ENDINGS=7\n")

    result = read_setting("SANDBOX_SWEEP_MAX_EXPIRATIONS", VAR_DIR=str(tmp_path))

    assert result.stdout.strip() == "7"
    assert "SANDBOX_REAPER_MAX_ENDINGS is deprecated" in result.stderr


def test_new_names_do_not_warn() -> None:
    assert read_setting("OPERATORS_REQUIRE_MFA", OPERATORS_REQUIRE_MFA="on").stderr == ""


@pytest.mark.parametrize("old", RENAMED)
def test_the_system_check_names_the_replacement(monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    assert runtime.check_renamed_variables() == []
    monkeypatch.setenv(old, "1")

    (message,) = runtime.check_renamed_variables()

    assert message.id == "sandboxes.W006"
    assert old in message.msg
    assert RENAMED[old][0] in (message.hint or "")
