"""Notices in trial mode, where sandboxes aren't isolated."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.checks import runtime
from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.views.forms import LaunchForm
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import launch
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.conf import LazySettings
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

SENTENCE = "Trial mode: no isolation between sandboxes."
BILLING = Path(__file__).resolve().parents[2] / "sandboxes" / "blueprints" / "billing"


@pytest.fixture
def trial(settings: LazySettings) -> None:
    """Change only the setting; the memory runtime stays."""
    settings.SANDBOX_RUNTIME = "process"


@pytest.fixture
def containers_only(settings: LazySettings, tmp_path: Path) -> None:
    """Install the bundled blueprint, and one that doesn't support processes."""
    shutil.copytree(BILLING, tmp_path / "blueprints" / "boxed")
    for name in ("billing", "boxed"):
        folder = tmp_path / "blueprints" / name
        folder.mkdir(exist_ok=True)
        written = yaml.safe_load((BILLING / "compose.yaml").read_text())
        written["name"] = name
        for service in written["services"].values():
            del service["build"]
        if name == "boxed":
            del written["x-sandbox"]["process"]
        for part in written["x-sandbox"].get("process", {}).values():
            part["files"] = []
            part.pop("requirements", None)
        (folder / "compose.yaml").write_text(yaml.safe_dump(written))
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path / "blueprints"


def pages(web: Client, alice: User) -> list[str]:
    sandbox = launch(alice)
    where = [reverse("dashboard"), reverse("sandbox", args=[sandbox.public_id])]
    return [text(web.get(address)) for address in where]


def test_pages_show_the_trial_mode_notice(web: Client, alice: User, trial: None) -> None:
    assert all(SENTENCE in page for page in pages(web, alice))


def test_pages_show_no_notice_with_an_engine(web: Client, alice: User) -> None:
    assert not any("Trial mode" in page for page in pages(web, alice))


def test_the_api_reports_missing_isolation(alice: User, settings: LazySettings) -> None:
    assert ApiClient(alice).get("/limits").json()["isolated"] is True
    settings.SANDBOX_RUNTIME = "process"
    assert ApiClient(alice).get("/limits").json()["isolated"] is False


def test_the_admin_shows_trial_mode(client: Client, olga: User, trial: None) -> None:
    client.force_login(olga)
    listed = client.get(reverse("admin:sandboxes_maintenance_changelist"), follow=True)
    assert SENTENCE in text(listed)


def test_a_system_check_warns_about_trial_mode(settings: LazySettings) -> None:
    assert runtime.check_isolation() == []
    settings.SANDBOX_RUNTIME = "process"
    (message,) = runtime.check_isolation()
    assert message.id == "sandboxes.W003"
    assert message.hint


def test_a_blueprint_that_needs_an_engine_is_not_offered(
    alice: User, trial: None, containers_only: None
) -> None:
    with pytest.raises(ValidationFailed, match="needs a container engine"):
        actions.launch_sandbox(alice, actions.LaunchRequest(blueprint="boxed"))
    choices = LaunchForm(alice).fields["blueprint"].choices  # type: ignore[attr-defined]
    assert [name for name, _ in choices] == ["billing"]
    listed = ApiClient(alice).get("/blueprints").json()["data"]
    assert {one["name"]: one["can_launch"] for one in listed} == {"billing": True, "boxed": False}
    assert {message.id for message in runtime.check_isolation()} == {
        "sandboxes.W003",
        "sandboxes.W004",
    }


def test_the_blueprint_can_be_launched_with_an_engine(alice: User, containers_only: None) -> None:
    listed = ApiClient(alice).get("/blueprints").json()["data"]
    assert all(one["can_launch"] for one in listed)
    assert launch(alice, blueprint="boxed").state == "running"
