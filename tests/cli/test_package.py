"""The package of the client, which the portal builds and serves."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.test import Client

from sandboxes.lib.client_package import ClientPackage
from sandboxes.preparation import client

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


@pytest.fixture
def package(tmp_path: Path, settings: SettingsWrapper) -> ClientPackage:
    settings.STATIC_ROOT = tmp_path / "static"
    return client.build()


def test_the_package_has_the_version_of_the_portal_and_replaces_an_older_one(
    package: ClientPackage,
) -> None:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    assert package.version == project["project"]["version"]
    older = package.file.with_name("sandbox_client-0.0.1-py3-none-any.whl")
    older.touch()
    again = client.build()
    assert again.sha256 == package.sha256
    assert list(package.file.parent.iterdir()) == [package.file]


def test_the_package_runs_without_the_portal(package: ClientPackage, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", target, package.file], check=True)
    command = [sys.executable, target / "bin" / "sandbox", "--version"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(target)}, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == package.version


@pytest.mark.django_db
def test_the_page_says_how_to_install_what_is_served(package: ClientPackage) -> None:
    anyone = Client()
    url = anyone.get("/api/v1").json()["client"]["url"]
    page = anyone.get("/cli/").content.decode()
    assert f"pipx install {url}" in page
    response = anyone.get(url)
    content = b"".join(response)
    assert hashlib.sha256(content).hexdigest() in page
    assert response["Content-Type"] == "application/zip"
    assert "immutable" in response["Cache-Control"]
    assert anyone.get("/cli/sandbox_client-0.0.1-py3-none-any.whl").status_code == 404


@pytest.mark.django_db
def test_a_portal_without_the_package_says_so(tmp_path: Path, settings: SettingsWrapper) -> None:
    settings.STATIC_ROOT = tmp_path
    assert "build_client" in Client().get("/cli/").content.decode()
    assert "client" not in Client().get("/api/v1").json()
