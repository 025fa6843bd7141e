"""The first steps of an installation, which have nothing but Python: its keys, its address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def step(script: str, var: Path, **values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", ROOT / "deploy" / script],
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(var)} | values,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def keys(var: Path) -> dict[str, str]:
    done = step("keys.py", var)
    assert done.returncode == 0, done.stderr
    lines = (var / "env").read_text().splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def address(**values: str) -> dict[str, str]:
    done = step("address.py", Path("unused"), PORT="18999", **values)
    assert done.returncode == 0, done.stderr
    script = f'{done.stdout}\nprintf \'%s\\n\' "$HOST" "$PORT" "$SITE_URL" "$ALLOWED_HOSTS"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return dict(
        zip(("HOST", "PORT", "SITE_URL", "ALLOWED_HOSTS"), shell.stdout.splitlines(), strict=True)
    )


def test_keys_are_made_once_for_the_owners_eyes_alone(tmp_path: Path) -> None:
    made = keys(tmp_path / "var")
    assert len(made["SECRET_KEY"]) >= 50
    Fernet(made["SANDBOX_ENCRYPTION_KEYS"])
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var" / "env").stat().st_mode & 0o777 == 0o600
    assert keys(tmp_path / "var") == made


def test_what_an_operator_wrote_among_the_keys_stays_and_what_is_missing_is_added(
    tmp_path: Path,
) -> None:
    (tmp_path / "env").write_text("# ours\nSANDBOX_INSTANCE=mine\nSANDBOX_TTL_MINUTES=30\n")
    made = keys(tmp_path)
    assert (made["SANDBOX_INSTANCE"], made["SANDBOX_TTL_MINUTES"]) == ("mine", "30")
    assert made["SECRET_KEY"]
    assert (tmp_path / "env").read_text().startswith("# ours\n")
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600


def test_a_lost_file_gets_other_keys_and_the_same_name_on_the_engine(tmp_path: Path) -> None:
    before = keys(tmp_path)
    (tmp_path / "env").unlink()
    after = keys(tmp_path)
    assert after["SANDBOX_INSTANCE"] == before["SANDBOX_INSTANCE"]
    assert after["SECRET_KEY"] != before["SECRET_KEY"]


def test_two_directories_have_two_names_on_the_engine(tmp_path: Path) -> None:
    one, other = keys(tmp_path / "one"), keys(tmp_path / "other")
    assert one["SANDBOX_INSTANCE"] != other["SANDBOX_INSTANCE"]


def test_the_portals_address_follows_the_port() -> None:
    made = address()
    assert made["SITE_URL"] == "http://127.0.0.1:18999"
    assert made["ALLOWED_HOSTS"] == "127.0.0.1,localhost,[::1]"


def test_a_portal_for_everybody_answers_to_this_machines_names() -> None:
    made = address(HOST="0.0.0.0")
    assert made["HOST"] == "0.0.0.0"
    assert socket.gethostname() in made["ALLOWED_HOSTS"].split(",")
    assert "0.0.0.0" not in made["SITE_URL"]


def test_an_address_that_was_chosen_stays_and_is_answered_to() -> None:
    made = address(SITE_URL="https://sandboxes.example.com")
    assert made["SITE_URL"] == "https://sandboxes.example.com"
    assert "sandboxes.example.com" in made["ALLOWED_HOSTS"].split(",")
    assert address(ALLOWED_HOSTS="only.me")["ALLOWED_HOSTS"] == "only.me"


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused(tmp_path: Path, host: str) -> None:
    refused = step("address.py", tmp_path, HOST=host, PORT="18999")
    assert refused.returncode != 0
    assert refused.stderr.startswith(f"✗ Nobody can listen at HOST={host} PORT=18999")
