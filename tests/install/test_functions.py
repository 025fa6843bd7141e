"""Functions of install.sh on directories of the test: releases and the file of settings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.portal import ROOT

PRELUDE = f"""
set -euo pipefail
INSTALL={ROOT}/deploy/install
SOURCE={ROOT}
for part in output preflight environment system release services; do . "$INSTALL/$part.sh"; done
TEMPORARY=$(mktemp -d -p "$PWD")
ROOT=$PWD/opt RELEASES=$PWD/opt/releases ENVIRONMENT=$PWD/env CONFIGURATION=/etc/sandbox-portal
VAR_DIRECTORY=/var/lib/sandbox-portal BLUEPRINTS=$PWD/blueprints
DRY_RUN='' VERSION='' SETTINGS=() EMAIL_URL=''
DATABASE_URL='' REDIS_URL='' HTTP_PORT=80 HTTPS_PORT=443 POSTGRESQL_PORT=5432
SITE_URL=https://portal.example.com DOMAIN=sandboxes.example.net
"""
Bash = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def bash(tmp_path: Path) -> Bash:
    def run(commands: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", PRELUDE + commands],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """Return the root of an installation with three versions, of which none runs."""
    for version in ("1", "2", "3"):
        (tmp_path / "opt/releases" / version).mkdir(parents=True)
        (tmp_path / "opt/releases" / version / ".prepared").touch()
    return tmp_path / "opt"


def links(root: Path) -> dict[str, str]:
    names = ("current", "previous")
    return {name: (root / name).readlink().name for name in names if (root / name).is_symlink()}


def test_an_upgrade_switches_and_a_rollback_switches_back(bash: Bash, releases: Path) -> None:
    assert bash("VERSION=1; switch_release").returncode == 0
    assert links(releases) == {"current": "1"}
    bash("VERSION=2; switch_release")
    assert links(releases) == {"current": "2", "previous": "1"}
    bash("choose_release; switch_release")
    assert links(releases) == {"current": "1", "previous": "2"}
    bash("VERSION=3; choose_release; switch_release")
    assert links(releases) == {"current": "3", "previous": "1"}


def test_a_switch_to_the_version_that_runs_changes_nothing(bash: Bash, releases: Path) -> None:
    bash("VERSION=1; switch_release; VERSION=2; switch_release")
    assert bash('VERSION=2; switch_release; echo "$CHANGES"').stdout == "0\n"
    assert links(releases) == {"current": "2", "previous": "1"}


def test_a_rollback_needs_a_version_that_was_prepared(bash: Bash, releases: Path) -> None:
    assert "There is no previous version" in bash("choose_release").stderr
    (releases / "releases/2/.prepared").unlink()
    assert "There is no version 2. Versions: 1, 2, 3." in bash("VERSION=2; choose_release").stderr


def test_a_dry_run_switches_nothing(bash: Bash, releases: Path) -> None:
    assert "Would: Switch" in bash("DRY_RUN=1 VERSION=1; switch_release").stdout
    assert links(releases) == {}


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_settings_are_generated_once_and_kept(bash: Bash, tmp_path: Path) -> None:
    first = bash('make_environment; cat "$DRAFT"').stdout
    made = settings(first)
    assert made["SITE_URL"] == "https://portal.example.com"
    assert made["ALLOWED_HOSTS"] == "portal.example.com,127.0.0.1,localhost"
    assert min(len(made[name]) for name in ("SECRET_KEY", "SANDBOX_GATEWAY_TOKEN")) >= 48
    (tmp_path / "env").write_text(first)
    kept = 'DATABASE_URL=$(stored DATABASE_URL); make_environment; cat "$DRAFT"'
    assert bash(kept).stdout == first


def test_an_upgrade_adds_only_settings_that_are_missing(bash: Bash, tmp_path: Path) -> None:
    text = "SITE_URL=https://portal.example.com\nCACHE_URL=redis://elsewhere:6379/7\n"
    (tmp_path / "env").write_text(text)
    upgraded = bash('add_settings; cat "$DRAFT"').stdout
    assert upgraded.startswith(text)
    made = settings(upgraded)
    assert made["SANDBOX_BLUEPRINTS_DIR"] == str(tmp_path / "blueprints")
    assert made["SANDBOX_SHIPPED_BLUEPRINTS"] == "true"
    (tmp_path / "env").write_text(upgraded)
    assert bash('add_settings; cat "$DRAFT"').stdout == upgraded

    (tmp_path / "env").write_text("SANDBOX_BLUEPRINTS_DIR=/srv/blueprints\n")
    chosen = settings(bash('add_settings; cat "$DRAFT"').stdout)
    assert chosen["SANDBOX_BLUEPRINTS_DIR"] == "/srv/blueprints"
    assert "SANDBOX_SHIPPED_BLUEPRINTS" not in chosen


def test_own_blueprints_of_the_earlier_release_are_kept(bash: Bash, tmp_path: Path) -> None:
    old = tmp_path / "opt/releases/1/sandboxes/blueprints"
    for name in ("billing", "compose", "shop"):
        (old / name).mkdir(parents=True)
    (old / "shop/docker-compose.yml").touch()
    (old / "billing/compose.yaml").touch()
    (tmp_path / "blueprints").mkdir()
    kept = bash("VERSION=1; switch_release; add_settings; keep_blueprints; keep_blueprints").stdout
    assert kept.count("Copy the blueprint") == 1
    assert [path.name for path in (tmp_path / "blueprints").iterdir()] == ["shop"]
    assert (tmp_path / "blueprints/shop/docker-compose.yml").exists()


def test_options_change_only_their_settings(bash: Bash, tmp_path: Path) -> None:
    text = "# ours\nSECRET_KEY='kept by us'\nSANDBOX_MAX_PER_USER=3\n"
    (tmp_path / "env").write_text(text)
    chosen = "SETTINGS=(SANDBOX_MAX_PER_USER=5 'PORTAL_NAME=Our portal')"
    changed = bash(f'{chosen}; make_environment; cat "$DRAFT"').stdout
    assert changed.startswith("# ours\nSECRET_KEY='kept by us'\n")
    made = settings(changed)
    assert (made["SANDBOX_MAX_PER_USER"], made["PORTAL_NAME"]) == ("5", "'Our portal'")


def test_versions_are_compared_by_their_numbers(bash: Bash) -> None:
    for newer, older in (("1.41", "1.41"), ("1.100", "1.41"), ("2.0", "1.41")):
        assert bash(f"is_newer {newer} {older}").returncode == 0
    assert bash("is_newer 1.9 1.41").returncode == 1


def test_commands_that_take_paths_run_in_the_current_directory(tmp_path: Path) -> None:
    release = tmp_path / "opt/releases/1"
    (release / ".venv/bin").mkdir(parents=True)
    python = release / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "$PWD $*"\n')
    python.chmod(0o755)
    (tmp_path / "opt/current").symlink_to("releases/1")
    (tmp_path / "env").touch()
    (tmp_path / "work").mkdir()
    ran = subprocess.run(
        [ROOT / "deploy/sandbox-portal", "manage", "blueprint", "check", "books"],
        cwd=tmp_path / "work",
        env={
            "PATH": "/usr/bin:/bin",
            "SANDBOX_PORTAL_ROOT": str(tmp_path / "opt"),
            "SANDBOX_PORTAL_ENVIRONMENT": str(tmp_path / "env"),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ran.stdout == f"{tmp_path}/work {release}/manage.py blueprint check books\n"
