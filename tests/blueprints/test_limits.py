"""A blueprint's own limits: what the file may ask for, and what the portal allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandboxes.blueprints.limits import Limits
from sandboxes.blueprints.loader import Inspection, inspect
from tests.helpers.blueprints import CPUS, MEMORY_MB, tiny, write

OWN = {
    "memory": "400m",
    "cpus": 0.8,
    "disk": "1g",
    "lifetime": {"default": "30m", "max": "1h30m"},
    "idle_timeout": "10m",
    "active_per_user": 1,
}


def limited(folder: Path, limits: Any, *, shared: bool = False) -> Inspection:
    """Return the inspection of a blueprint with these limits; its services share them if asked."""
    written = tiny()
    written["x-sandbox"]["limits"] = limits
    for service in written["services"].values() if shared else ():
        del service["mem_limit"], service["cpus"]
    return inspect(write(folder, written).parent, MEMORY_MB, CPUS)


def test_a_blueprint_states_its_own_limits(tmp_path: Path) -> None:
    found = limited(tmp_path, OWN).blueprint
    assert found
    assert found.limits == Limits(400, 0.8, 1024, 30, 90, 10, 1)


def test_services_without_limits_share_the_blueprints_own(tmp_path: Path) -> None:
    found = limited(tmp_path, OWN, shared=True).blueprint
    assert found
    assert [(one.memory_mb, one.cpus) for one in found.services] == [(200, 0.4), (200, 0.4)]


def test_the_limits_of_services_must_fit_into_the_blueprints_own(tmp_path: Path) -> None:
    (problem,) = limited(tmp_path, {"memory": "300m"}).problems
    assert "384 MB together; a sandbox has 300 MB" in problem.message
    assert "x-sandbox.limits.memory" in problem.remedy


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"memory": "513m"}, "513 MB of memory are more than SANDBOX_MEMORY_MB allows"),
        ({"cpus": 1.5}, "1.5 CPUs are more than SANDBOX_CPUS allows"),
        ({"disk": "3g"}, "3072 MB of disk space are more than SANDBOX_DISK_MAX_MB allows"),
        ({"disk": "1m"}, "too little"),
        ({"cpus": 0.001}, "at least 0.01"),
        ({"lifetime": {"default": 30}}, "isn't a number of minutes"),
        ({"idle_timeout": "90s"}, "isn't a number of minutes"),
        ({"active_per_user": 0}, "greater than 0"),
        ({"lifetime": {"default": "2h", "max": "1h"}}, "longer than the maximum"),
        ({"lifetime": "1h"}, "must be a mapping"),
        ({"swap": "1g"}, "not supported"),
    ],
)
def test_a_limit_that_cannot_be_granted_is_a_problem(
    tmp_path: Path, settings: Any, limits: Any, message: str
) -> None:
    settings.SANDBOX_DISK_MAX_MB = 2500
    (problem,) = limited(tmp_path, limits).problems
    assert message in problem.message
    assert problem.key.startswith(f"x-sandbox.limits.{next(iter(limits))}")
    assert problem.line
    assert problem.remedy


def test_a_blueprint_may_have_more_than_the_default_up_to_the_maximum(
    tmp_path: Path, settings: Any
) -> None:
    settings.SANDBOX_MEMORY_MAX_MB, settings.SANDBOX_CPUS_MAX = 2048, 4.0
    found = limited(tmp_path, {"memory": "2g", "cpus": 4}, shared=True).blueprint
    assert found
    assert (found.memory_mb, found.cpus) == (2048, 4)


def test_times_and_numbers_above_the_portals_are_capped_with_a_note(tmp_path: Path) -> None:
    limits = OWN | {
        "lifetime": {"default": "3h", "max": "5h"},
        "idle_timeout": "1h",
        "active_per_user": 9,
    }
    inspection = limited(tmp_path, limits)
    assert inspection.blueprint
    notes = {note.key.removeprefix("x-sandbox.limits."): note.message for note in inspection.notes}
    assert notes == {
        "lifetime.default": "180 minutes are capped to 120, the value of SANDBOX_TTL_MAX_MINUTES.",
        "lifetime.max": "300 minutes are capped to 240, the value of SANDBOX_HARD_CAP_MINUTES.",
        "idle_timeout": "60 minutes are capped to 30, the value of SANDBOX_IDLE_MINUTES.",
        "active_per_user": "9 are capped to 3, the value of SANDBOX_MAX_PER_USER.",
    }
