"""`x-sandbox.process`: how the services of a blueprint run as processes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from sandboxes import blueprints
from sandboxes.runtime import ProcessSpec
from tests.helpers.blueprints import problems_of, tiny

SECTION = {
    "web": {
        "command": "python -m web",
        "environment": {"PORT": "{port}", "STORE": "store://${PASSWORD}@{store:5432}"},
        "files": ["web"],
        "prepare": ["python", "-m", "web.fill"],
    },
    "store": {"command": ["store"]},
}


def with_section(**changes: Any) -> dict[str, Any]:
    written = tiny()
    written["x-sandbox"]["process"] = copy.deepcopy(SECTION)
    written["x-sandbox"]["reset"]["process"] = ["store", "reset"]
    for path, value in changes.items():
        *keys, last = path.split("__")
        target = written["x-sandbox"]
        for key in keys:
            target = target[key]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return written


def test_the_section_is_optional(tmp_path: Path) -> None:
    assert problems_of(tmp_path, with_section()) == []
    assert problems_of(tmp_path, tiny()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process__store": None}, "service store is missing"),
        ({"process__cache": {"command": "x"}}, "Unknown service cache"),
        ({"process__web__files": ["elsewhere"]}, "File not found"),
        ({"process__web__requirements": "list.txt"}, "File not found"),
        ({"process__web__environment": {"A": "{cache:1}"}}, "Unknown placeholder {cache:1}"),
        ({"process__web__environment": {"A": "{store:1}"}}, "Unknown placeholder {store:1}"),
        ({"process__web__environment": {"A": "${NOTHING}"}}, "Unknown variable NOTHING"),
        ({"process__web__command": []}, "must not be empty"),
        ({"process__web__ports": [1]}, "not supported"),
        ({"reset__process": None}, "restores the data"),
    ],
    ids=str,
)
def test_a_contradiction_is_reported_with_a_remedy(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    problems = problems_of(tmp_path, with_section(**changes))
    assert any(message in one.message for one in problems), problems
    assert all(one.remedy for one in problems)


def test_the_shipped_blueprint_supports_the_process_runtime() -> None:
    billing = blueprints.load("billing")
    assert billing.supports_runtime("process")
    assert set(billing.preparations) == set(billing.images)
    assert billing.reset
    assert (
        billing.reset.command_for("process")
        != billing.reset.command_for("docker")
        == billing.reset.command
    )
    variables = billing.new_secrets() | {
        "SANDBOX_LAUNCHED_AT": "now",
        "SANDBOX_STELLAR_PUBLIC_KEY": "",
    }
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
