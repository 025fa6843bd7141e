"""The doctor's check of blueprints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sandboxes import blueprints as catalog
from sandboxes.doctor import blueprints, host
from sandboxes.doctor.findings import Finding
from tests.doctor.findings import FINE, WARNING, levels, the_one
from tests.helpers.blueprints import prepare, prepare_with_limits, tiny, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def prepared(settings: Any, tmp_path: Path, runtime: Any) -> Path:
    """Provide the folder of the blueprints, with two prepared ones."""
    settings.SANDBOX_DISK_MAX_MB = 9000
    prepare_with_limits(settings, tmp_path, heavy={"disk": "8g"}, light={})
    return tmp_path


def findings() -> list[Finding]:
    return list(blueprints.versions())


def test_prepared_blueprints_are_fine(prepared: Path) -> None:
    (found,) = findings()
    assert found.level is FINE
    assert found.message.startswith("Active versions: heavy ")


def test_a_portal_without_versions_is_told_to_prepare(settings: Any, tmp_path: Path) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    write(tmp_path, tiny())
    (found,) = findings()
    assert (found.level, "blueprint prepare" in found.remedy) == (WARNING, True)


def test_changed_and_new_folders_are_found_and_broken_ones_do_not_matter(prepared: Path) -> None:
    write(prepared, tiny() | {"name": "heavy"}, "heavy")
    write(prepared, tiny() | {"name": "new"}, "new")
    write(prepared, "services: [", "light")
    changed, new, fine = findings()
    assert changed.message.startswith("The files of heavy differ from the active version")
    assert new.message == "The blueprint new has no active version."
    assert levels([changed, new, fine]) == [WARNING, WARNING, FINE]
    shutil.rmtree(prepared)
    assert findings() == [fine]


def test_limits_above_the_portals_are_found(prepared: Path, settings: Any) -> None:
    settings.SANDBOX_DISK_MAX_MB = 4000
    prepare_with_limits(settings, prepared, light={"idle_timeout": "20m"})
    settings.SANDBOX_IDLE_MINUTES = 15
    large, idle, _ = findings()
    assert large.message == (
        "The blueprint heavy isn't launched: 8192 MB of disk space are more than "
        "SANDBOX_DISK_MAX_MB allows, which is 4000."
    )
    assert idle.message == (
        "The blueprint light, idle_timeout: 20 minutes are capped to 15, the value of "
        "SANDBOX_IDLE_MINUTES."
    )


def test_services_that_run_as_root_are_named(prepared: Path, settings: Any) -> None:
    settings.SANDBOX_ROOT_SERVICES = True
    prepare(settings, prepared, heavy={"root": ["store"]}, light={})
    allowed = the_one(findings(), WARNING)
    assert "Services of heavy may run as their container's root: store." in allowed.message

    settings.SANDBOX_ROOT_SERVICES = False
    assert "Launches of heavy fail" in the_one(findings(), WARNING).message


@pytest.mark.parametrize(("free", "expected"), [(9000, 0), (4000, 1), (1000, 0), (None, 0)])
def test_a_blueprint_that_needs_more_disk_space_than_is_free_is_found(
    prepared: Path, free: int | None, expected: int
) -> None:
    found = list(host.large_blueprints(catalog.available().values(), free))
    assert len(found) == expected
    assert all("Launches of heavy are rejected" in one.message for one in found)
