"""The part of a blueprint that says how its services run as processes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from sandboxes import blueprints
from sandboxes.runtime import ProcessSpec
from tests.test_blueprints import problems_of, tiny

PART = {
    "web": {
        "command": "python -m web",
        "environment": {"PORT": "{port}", "STORE": "store://${PASSWORD}@{store:5432}"},
        "files": ["web"],
        "prepare": ["python", "-m", "web.fill"],
    },
    "store": {"command": ["store"]},
}


def with_part(**changes: Any) -> dict[str, Any]:
    written = tiny()
    written["x-sandbox"]["process"] = copy.deepcopy(PART)
    written["x-sandbox"]["reset"]["process"] = ["store", "reset"]
    for path, value in changes.items():
        *keys, last = path.split("__")
        place = written["x-sandbox"]
        for key in keys:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return written


def test_it_may_be_there_and_may_be_left_away(tmp_path: Path) -> None:
    assert problems_of(tmp_path, with_part()) == []
    assert problems_of(tmp_path, tiny()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"process__store": None}, "service store is missing"),
        ({"process__cache": {"command": "x"}}, "no service cache"),
        ({"process__web__files": ["elsewhere"]}, "There is no file"),
        ({"process__web__requirements": "list.txt"}, "There is no file"),
        ({"process__web__environment": {"A": "{cache:1}"}}, "in place of {cache:1}"),
        ({"process__web__environment": {"A": "{store:1}"}}, "in place of {store:1}"),
        ({"process__web__environment": {"A": "${NOTHING}"}}, "no variable NOTHING"),
        ({"process__web__command": []}, "This is empty"),
        ({"process__web__ports": [1]}, "not supported"),
        ({"reset__process": None}, "how the data is put back"),
    ],
    ids=str,
)
def test_what_can_t_be_is_told_with_a_remedy(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    problems = problems_of(tmp_path, with_part(**changes))
    assert any(said in one.message for one in problems), problems
    assert all(one.remedy for one in problems)


def test_the_blueprint_that_ships_says_how_it_runs() -> None:
    billing = blueprints.load("billing")
    assert billing.supports_runtime("process")
    assert set(billing.preparations) == set(billing.images)
    assert (
        billing.reset.command_for("process")
        != billing.reset.command_for("docker")
        == billing.reset.command
    )
    variables = billing.new_secrets() | {"SANDBOX_LAUNCHED_AT": "now"}
    spec = billing.spec("sbx_1", variables, disk_mb=100)
    api = next(service for service in spec.services if service.name == "api")
    assert api.process == ProcessSpec(
        ("python", "-m", "billing_api"),
        {
            "DATABASE_URL": f"postgresql://billing_api:{variables['DATABASE_PASSWORD']}"
            "@{db:5432}/billing",
            "PORT": "{port}",
        },
    )
