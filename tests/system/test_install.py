"""The first steps of an installation, which use only the standard library: keys and address."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.helpers.wait import wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


PRINT_ADDRESS = """
import json, os
NAMES = ("HOST", "PORT", "SITE_URL", "ALLOWED_HOSTS")
print(json.dumps({name: os.environ[name] for name in NAMES}))
"""


def test_only_the_owner_of_a_checkout_can_hold_up_its_setup(tmp_path: Path) -> None:
    """A user who can open a file can lock it."""
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    shutil.copy(ROOT / "deploy" / "common.sh", deploy)
    (deploy / "setup.sh").write_text(
        '. "$(dirname "$0")/common.sh"\nlock_checkout\necho /proc/$$/fd/9\nread -r _\n'
    )
    with subprocess.Popen(
        ["bash", deploy / "setup.sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as setup:
        assert setup.stdout
        lock = Path(setup.stdout.readline().strip()).resolve()
        busy = subprocess.run(["flock", "--nonblock", lock, "true"], check=False)
        setup.communicate("\n")
    assert busy.returncode == 1
    assert lock.stat().st_mode & 0o777 == 0o600


def run_script(
    script: str, var: Path, *arguments: str, **values: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", ROOT / "deploy" / script, *arguments],
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(var)} | values,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def keys(var: Path) -> dict[str, str]:
    done = run_script("keys.py", var)
    assert done.returncode == 0, done.stderr
    lines = (var / "env").read_text().splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def address(**values: str) -> dict[str, str]:
    """Return the settings that address.py passes to its command."""
    command = [sys.executable, "-c", PRINT_ADDRESS]
    done = run_script("address.py", Path("unused"), *command, PORT="18999", **values)
    assert done.returncode == 0, done.stderr
    settings: dict[str, str] = json.loads(done.stdout)
    return settings


def test_keys_are_generated_once_and_readable_only_by_their_owner(tmp_path: Path) -> None:
    made = keys(tmp_path / "var")
    assert len(made["SECRET_KEY"]) >= 50
    Fernet(made["SANDBOX_ENCRYPTION_KEYS"])
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var" / "env").stat().st_mode & 0o777 == 0o600
    assert keys(tmp_path / "var") == made


def test_existing_settings_are_kept_and_missing_ones_are_added(
    tmp_path: Path,
) -> None:
    (tmp_path / "env").write_text("# ours\nSANDBOX_INSTANCE=mine\nSANDBOX_TTL_MINUTES=30\n")
    made = keys(tmp_path)
    assert (made["SANDBOX_INSTANCE"], made["SANDBOX_TTL_MINUTES"]) == ("mine", "30")
    assert made["SECRET_KEY"]
    assert (tmp_path / "env").read_text().startswith("# ours\n")
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600


def test_a_lost_file_gets_new_keys_and_the_same_instance_name(tmp_path: Path) -> None:
    before = keys(tmp_path)
    (tmp_path / "env").unlink()
    after = keys(tmp_path)
    assert after["SANDBOX_INSTANCE"] == before["SANDBOX_INSTANCE"]
    assert after["SECRET_KEY"] != before["SECRET_KEY"]


def test_two_directories_have_different_instance_names(tmp_path: Path) -> None:
    one, other = keys(tmp_path / "one"), keys(tmp_path / "other")
    assert one["SANDBOX_INSTANCE"] != other["SANDBOX_INSTANCE"]


def test_the_site_url_follows_the_port() -> None:
    made = address()
    assert made["SITE_URL"] == "http://127.0.0.1:18999"
    assert made["ALLOWED_HOSTS"] == "127.0.0.1,localhost,[::1]"


def test_listening_on_all_addresses_allows_the_names_of_this_machine() -> None:
    made = address(HOST="0.0.0.0")
    assert made["HOST"] == "0.0.0.0"
    assert socket.gethostname() in made["ALLOWED_HOSTS"].split(",")
    assert "0.0.0.0" not in made["SITE_URL"]


def test_a_given_site_url_is_kept_and_its_host_allowed() -> None:
    made = address(SITE_URL="https://sandboxes.example.com")
    assert made["SITE_URL"] == "https://sandboxes.example.com"
    assert "sandboxes.example.com" in made["ALLOWED_HOSTS"].split(",")
    assert address(ALLOWED_HOSTS="only.me")["ALLOWED_HOSTS"] == "only.me"


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_of_another_machine_is_rejected(tmp_path: Path, host: str) -> None:
    rejected = run_script("address.py", tmp_path, "true", HOST=host, PORT="18999")
    assert rejected.returncode != 0
    assert rejected.stderr.startswith(f"✗ Couldn't listen on HOST={host} PORT=18999")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lets a second socket bind the port")
def test_the_port_is_reserved_until_a_server_that_asks_for_it_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, ROOT / "deploy" / "address.py", "sleep", "60"]
    environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(port)}
    with subprocess.Popen(command, env=environment) as reserving:
        try:
            wait_for(lambda: is_reserved(port), "the port is reserved")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            with (
                socket.create_server(("127.0.0.1", port)),  # The server sets SO_REUSEADDR.
                socket.create_connection(("127.0.0.1", port)),
            ):
                pass
        finally:
            reserving.kill()


def is_reserved(port: int) -> bool:
    """Return whether a socket that may not share the port is rejected, as for ephemeral ports."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
