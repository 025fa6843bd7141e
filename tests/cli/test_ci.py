"""The recipes of docs/ci.md, whose scripts run against a portal and an issuer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from django.conf import settings
from django.core.cache import cache

from sandboxes.lib.client_package import ClientPackage
from sandboxes.models import ApiToken, IdentityRule, Sandbox
from sandboxes.preparation import client
from tests.fakes.identity_issuer import JOB_SECRET, IdentityIssuer, running_issuer

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

RECIPES = (Path(settings.BASE_DIR) / "docs" / "ci.md").read_text()
PORTAL, WHEEL = "https://portal.example.com", r"sandbox_client-[\d.]+-py3-none-any\.whl"
INSTALL = """#!/bin/sh
# Without its dependencies, which this environment has.
exec {python} -m pip install -q --no-deps --no-index --target {target} "$2"
"""


@pytest.fixture
def issuer() -> Iterator[IdentityIssuer]:
    cache.clear()
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def portal(
    live_server: LiveServer, runtime: MemoryRuntime, issuer: IdentityIssuer, alice: User
) -> str:
    """Return the address of a portal with a rule for the repository acme/shop."""
    IdentityRule.objects.create(
        name="shop",
        issuer=issuer.url,
        audience=live_server.url,
        claims={"repository": "acme/shop"},
        user=alice,
    )
    return str(live_server.url)


@pytest.fixture
def package() -> ClientPackage:
    return client.build()


def recipes(portal: str, package: ClientPackage) -> list[dict[str, Any]]:
    """Return the YAML files of the page for this portal."""
    blocks = re.findall(r"```yaml\n(.*?)```", RECIPES, re.DOTALL)
    return [
        yaml.safe_load(re.sub(WHEEL, package.name, block).replace(PORTAL, portal))
        for block in blocks
    ]


def run_job(script: list[str], variables: dict[str, str], folder: Path) -> str:
    """Run the commands as a CI system does: in one shell, up to the first that fails."""
    programs, installed = folder / "bin", folder / "installed"
    programs.mkdir()
    for name in ("pip", "pipx"):
        (programs / name).write_text(INSTALL.format(python=sys.executable, target=installed))
        (programs / name).chmod(0o755)
    (folder / "test_shop.py").write_text(
        "import os\n\ndef test_shop():\n    assert os.environ['API_URL'].startswith('http')\n"
    )
    search = [programs, installed / "bin", Path(sys.executable).parent]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=folder,
        env={
            "PATH": os.pathsep.join([*map(str, search), os.environ["PATH"]]),
            "PYTHONPATH": str(installed),
            "HOME": str(folder),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def check_outcome(output: str) -> None:
    assert "1 passed" in output
    sandbox = Sandbox.objects.get()
    assert (sandbox.metadata, sandbox.end_reason) == ({"job": "4711"}, "user")
    assert ApiToken.objects.get().name == "CI: shop"


def test_the_recipe_for_github_actions(
    portal: str, package: ClientPackage, issuer: IdentityIssuer, tmp_path: Path
) -> None:
    job = recipes(portal, package)[0]["jobs"]["test"]
    assert job["permissions"]["id-token"] == "write"
    variables = {
        "GITHUB_RUN_ID": "4711",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{issuer.url}/job?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": JOB_SECRET,
    }
    script = [step["run"] for step in job["steps"] if "run" in step]
    check_outcome(run_job(script, job["env"] | variables, tmp_path))


def test_the_recipe_for_gitlab(
    portal: str, package: ClientPackage, issuer: IdentityIssuer, tmp_path: Path
) -> None:
    job = recipes(portal, package)[1]["test"]
    (name, token), *_ = job["id_tokens"].items()
    variables = {"CI_JOB_ID": "4711", name: issuer.token(aud=token["aud"])}
    check_outcome(run_job(job["script"], job["variables"] | variables, tmp_path))
