"""The production setup that `docs/operations.md` describes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
GENERATED = {
    "SECRET_KEY": "generated-for-this-test-" + "0123456789abcdefghijklmnopqrstuvwxyz",
    "SANDBOX_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "METRICS_TOKEN": "a token",
}


def documented_settings() -> dict[str, str]:
    [block] = re.findall(r"```sh\n(SECRET_KEY=.*?)```", PAGE, re.DOTALL)
    return dict(re.findall(r"^([A-Z_]+)=(\S+)", block, re.MULTILINE)) | GENERATED


@pytest.mark.engine
def test_check_deploy_passes_with_the_documented_settings(tmp_path: Path) -> None:
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


def test_the_documented_cron_line_matches_the_crontab() -> None:
    [line] = [
        line
        for line in (ROOT / "deploy" / "crontab").read_text().splitlines()
        if line.startswith("* * * * *")
    ]
    assert line in PAGE


def test_the_page_lists_every_environment_variable_of_the_processes() -> None:
    sources = [ROOT / "Procfile", ROOT / "deploy" / "gunicorn.conf.py"]
    text = "\n".join(source.read_text() for source in sources)
    read = set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"environ\.get\(\"(\w+)", text))
    listed = set(re.findall(r"`([A-Z_]+)`", PAGE))
    assert read - {"VAR_DIR"} <= listed


UNITS = ROOT / "deploy" / "systemd"


def settings_of(*files: str) -> dict[str, str]:
    text = "\n".join((UNITS / file).read_text() for file in files)
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE))


def test_under_systemd_the_web_process_has_no_access_to_an_engine() -> None:
    web = settings_of("sandbox-portal@.service", "sandbox-portal@web.service.d/no-engine.conf")
    assert "SupplementaryGroups" not in web
    assert web["UnsetEnvironment"] == "DOCKER_HOST"
    assert {"-/run/docker.sock", "-/run/sandbox-portal-engine"} <= {
        *web["InaccessiblePaths"].split()
    }
    assert web["NoNewPrivileges"] == "yes"
    assert web["CapabilityBoundingSet"] == ""


def test_under_systemd_the_web_process_writes_no_file_that_others_read() -> None:
    others = settings_of("sandbox-portal@.service")
    web = settings_of("sandbox-portal@.service", "sandbox-portal@web.service.d/user.conf")
    assert web["User"] != others["User"]
    assert web["ProtectSystem"] == "strict"
    assert (web["ReadWritePaths"], others["ReadWritePaths"]) == ("", "/var/lib/sandbox-portal")
    assert web["RuntimeDirectory"] == "sandbox-portal-web"
    for process in ("worker", "reaper"):
        drop_in = settings_of(f"sandbox-portal@{process}.service.d/engine.conf")
        assert not {"User", "ReadWritePaths"} & drop_in.keys()
    for user in (web["User"], others["User"]):
        assert f"`{user}`" in PAGE


def test_under_systemd_the_streams_process_has_no_keys_and_no_stores() -> None:
    streams = settings_of("sandbox-portal@.service", "sandbox-portal@streams.service.d/user.conf")
    others = settings_of("sandbox-portal@.service")
    assert streams["User"] != others["User"] and streams["ReadWritePaths"] == ""
    hidden = set(streams["UnsetEnvironment"].split())
    assert {"SECRET_KEY", "SANDBOX_ENCRYPTION_KEYS", "DATABASE_URL", "CACHE_URL"} <= hidden
    assert {"CELERY_BROKER_URL", "EMAIL_URL", "SANDBOX_GATEWAY_TOKEN", "DOCKER_HOST"} <= hidden


@pytest.mark.parametrize("process", ["worker", "reaper"])
def test_under_systemd_worker_and_reaper_reach_the_engine_through_the_socket_proxy(
    process: str,
) -> None:
    unit = settings_of("sandbox-portal@.service", f"sandbox-portal@{process}.service.d/engine.conf")
    proxy = settings_of("sandbox-portal-socket-proxy.service")
    socket = proxy["ExecStart"].split()[-1]
    assert unit["Environment"] == f"DOCKER_HOST=unix://{socket}"
    assert unit["SupplementaryGroups"] == proxy["Group"]
    assert proxy["RuntimeDirectory"] in socket
    assert (
        ROOT / proxy["ExecStart"].split()[1].removeprefix("/opt/sandbox-portal/current/")
    ).exists()
