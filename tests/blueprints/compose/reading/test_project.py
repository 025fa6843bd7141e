"""Files of a blueprint together: overrides, `extends`, `include`, environment files, profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes.blueprints import Blueprint
from sandboxes.blueprints.loader import Inspection, inspect
from sandboxes.runtime import ServiceSpec

SANDBOX = "title: Stack\nsecrets: {DB_PASSWORD: {}}\n"
BROKEN = "services: ["
APP = "services: {app: {image: x, depends_on: [db]}}\n"


def inspect_files(folder: Path, **files: str) -> Inspection:
    """Write files, in whose names `__` stands for a slash and `_` for a dot, and inspect them."""
    files.setdefault("sandbox_yaml", SANDBOX)
    for name, text in files.items():
        path = folder / "stack" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return inspect(folder / "stack", 512, 1.0)


def load(folder: Path, **files: str) -> Blueprint:
    inspection = inspect_files(folder, **files)
    assert inspection.blueprint, inspection.problems
    return inspection.blueprint


def services(blueprint: Blueprint) -> dict[str, ServiceSpec]:
    return {service.name: service for service in blueprint.services}


@pytest.mark.parametrize(
    "name", ["compose_yaml", "compose_yml", "docker-compose_yml", "docker-compose_yaml"]
)
def test_a_compose_file_has_one_of_four_names_and_stays_untouched(
    tmp_path: Path, name: str
) -> None:
    blueprint = load(tmp_path, **{name: "services: {web: {image: nginx}}"})
    assert (blueprint.name, blueprint.title, set(services(blueprint))) == (
        "stack",
        "Stack",
        {"web"},
    )


def test_compose_yaml_comes_first(tmp_path: Path) -> None:
    first = {"compose_yaml": "services: {first: {image: x}}"}
    second = {"docker-compose_yml": "services: {second: {image: x}}"}
    assert set(services(load(tmp_path, **first, **second))) == {"first"}


def test_the_section_stands_in_one_place(tmp_path: Path) -> None:
    text = "services: {web: {image: nginx}}\nx-sandbox: {title: A}\n"
    (problem,) = inspect_files(tmp_path, compose_yaml=text).problems
    assert (problem.key, problem.line) == ("x-sandbox", 2)
    assert "stands here and in sandbox.yaml" in problem.message


@pytest.mark.parametrize(
    "files",
    [
        {"compose_yaml": BROKEN},
        {"compose_yaml": f"include: [o.yaml]\n{APP}", "o_yaml": BROKEN},
        {"compose_yaml": APP, "compose_override_yaml": BROKEN},
        {"compose_yaml": "services: {app: {extends: {file: o.yaml, service: x}}}", "o_yaml": "- x"},
        {"compose_yaml": "services: {app: {extends: {file: gone.yaml, service: x}}}"},
        {"compose_yaml": f"include: [gone.yaml]\n{APP}"},
        {"compose_yaml": "services: {db: {image: '${TAG?}:1'}, web: {image: x, cpus: '${TAG?}'}}"},
    ],
    ids=str,
)
def test_what_a_problem_leads_to_is_not_reported(tmp_path: Path, files: dict[str, str]) -> None:
    section = SANDBOX + "users: {db: postgres}\nendpoints: {web: {service: web, port: 80}}\n"
    problems = inspect_files(tmp_path, **files, sandbox_yaml=section).problems
    own = ("Invalid YAML", "The file", "The variable TAG is not set", "gone.yaml doesn't exist")
    assert problems and all(one.message.startswith(own) for one in problems), problems


def test_an_override_file_is_merged_as_in_compose(tmp_path: Path) -> None:
    blueprint = load(
        tmp_path,
        compose_yml="""
services:
  web:
    image: nginx:1
    command: [a, b]
    environment: [A=1, B=2, C=3]
    ports: ["80:80", "81:81"]
    volumes: [data:/data, logs:/logs]
    depends_on: [db]
    tmpfs: /a
  db: {image: postgres, ports: ["5432"], expose: [1]}
volumes: {data: {}, logs: {}}
""",
        compose_override_yml="""
services:
  web:
    image: nginx:2
    command: c
    environment: {B: "4", C: !reset null}
    ports: ["8080:80", "82"]
    volumes: [other:/data]
    depends_on: {cache: {condition: service_started}}
    tmpfs: [/b]
  db: {ports: !override ["5433"]}
  cache: {image: redis}
""",
    )
    found = services(blueprint)
    web = found["web"]
    assert blueprint.recipes["web"].image == "nginx:2"
    assert (web.command, web.environment) == (("c",), {"A": "1", "B": "4"})
    assert (web.ports, found["db"].ports) == ((81, 80, 82), (5433,))
    assert set(web.tmpfs) == {"/a", "/b"}
    assert set(web.depends_on) == {"db", "cache"}
    assert blueprint.recipes["web"].directories == ("/logs", "/data")


def test_a_service_extends_one_of_another_file_with_paths_of_that_file(tmp_path: Path) -> None:
    blueprint = load(
        tmp_path,
        compose_yaml="""
services:
  web:
    extends: {file: common/base.yaml, service: app}
    environment: {B: "2"}
  worker: {extends: web, command: work}
""",
        common__base_yaml="""
services:
  app: {build: ., extends: root, environment: {A: "1", B: "1"}, volumes: ["./conf:/conf:ro"]}
  root: {user: "1000", command: serve}
""",
        common__Dockerfile="FROM scratch",
        common__conf__app_ini="x",
    )
    worker, recipe = services(blueprint)["worker"], blueprint.recipes["worker"]
    assert worker.environment == {"A": "1", "B": "2"}
    assert (worker.command, worker.user) == (("work",), "1000")
    assert recipe.build and recipe.build.context == tmp_path / "stack" / "common"
    assert recipe.binds["/conf"].source == tmp_path / "stack" / "common" / "conf"


def test_the_folder_of_blueprints_may_be_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    load(
        Path(),
        compose_yaml="services: {web: {extends: {file: base.yaml, service: app}}}",
        base_yaml='services: {app: {image: "debian:bookworm-slim", user: "1000"}}',
    )


def test_included_files_have_variables_and_paths_of_their_own(tmp_path: Path) -> None:
    blueprint = load(
        tmp_path,
        compose_yaml="""
include:
  - db/compose.yaml
  - {path: [cache/a.yaml, cache/b.yaml], env_file: cache/my.env}
services:
  web: {image: "nginx:${TAG}", depends_on: [db, cache]}
""",
        _env="TAG=1\nSHARED=parent\n",
        db__compose_yaml="services: {db: {image: 'pg:${TAG}', environment: [X=$OWN $SHARED]}}",
        db___env="TAG=2\nOWN=own\nSHARED=child\n",
        cache__a_yaml="services: {cache: {image: 'redis:${VERSION}'}}",
        cache__b_yaml="services: {cache: {command: run}}",
        cache__my_env="VERSION=7",
    )
    assert {name: one.image for name, one in blueprint.recipes.items()} == {
        "web": "nginx:1",
        "db": "pg:1",
        "cache": "redis:7",
    }
    found = services(blueprint)
    assert found["db"].environment == {"X": "own parent"}
    assert found["cache"].command == ("run",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"compose_yaml": "include: [compose.yaml]\nservices: {a: {image: x}}"}, "includes itself"),
        (
            {"compose_yaml": "include: [b.yaml]", "b_yaml": "include: [compose.yaml]"},
            "includes itself",
        ),
        ({"compose_yaml": "include: [../x.yaml]\nservices: {a: {image: x}}"}, "leads out"),
        ({"compose_yaml": "include: ['oci://x/y']\nservices: {a: {image: x}}"}, "Only files"),
        ({"compose_yaml": "include: [no.yaml]\nservices: {a: {image: x}}"}, "doesn't exist"),
        ({"compose_yaml": "services: {a: {extends: b}, b: {extends: a}}"}, "in a circle"),
        ({"compose_yaml": "services: {a: {extends: b}}"}, "has no service b"),
        (
            {"compose_yaml": "services: {a: {extends: {service: b, file: ../b.yaml}}}"},
            "leads out",
        ),
        (
            {"compose_yaml": "services: {a: {image: x, links: [b]}, b: {image: x, links: [a]}}"},
            "in a circle",
        ),
        ({"compose_yaml": "- a"}, "not a mapping"),
        ({"compose_yaml": "services: {a: {image: x, env_file: ../x}}", "___x": ""}, "leads out"),
        (
            {"compose_yaml": "services: {a: {image: x, env_file: x.env}}", "x_env": "=1"},
            "not of the form",
        ),
    ],
    ids=str,
)
def test_files_that_can_not_be_combined_are_reported(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    problems = inspect_files(tmp_path, **files).problems
    assert any(message in one.message for one in problems), problems
    assert all(one.remedy for one in problems)


def test_files_that_include_each_other_again_and_again_are_bounded(tmp_path: Path) -> None:
    files = {f"f{n}_yaml": f"include: [f{n + 1}.yaml, f{n + 1}.yaml]" for n in range(30)}
    problems = inspect_files(tmp_path, compose_yaml="include: [f0.yaml]", **files).problems
    assert any("more than 50 times" in one.message for one in problems)


def test_environment_comes_from_files_variables_and_secrets(tmp_path: Path) -> None:
    blueprint = load(
        tmp_path,
        compose_yaml="""
services:
  web:
    image: nginx
    env_file: [a.env, {path: b.env, required: false}, {path: raw.env, format: raw}]
    environment: {A: own, PASSED: , UNSET: , N: 5, T: true}
""",
        a_env="A=file\nB=b\nPW=$DB_PASSWORD\n",
        raw_env="RAW='$x'",
        _env="PASSED=yes\nDB_PASSWORD=from-env\nFIXED=env\n",
        sandbox_yaml=SANDBOX + "variables: {FIXED: 1}\n",
    )
    spec = blueprint.spec("sbx_1", {"DB_PASSWORD": "s3cret"}, disk_mb=10)
    assert spec.services[0].environment == {
        "A": "own",
        "B": "b",
        "PW": "s3cret",
        "RAW": "'$x'",
        "PASSED": "yes",
        "N": "5",
        "T": "true",
    }


def test_only_services_of_chosen_profiles_are_started(tmp_path: Path) -> None:
    compose = """
services:
  web: {image: x, depends_on: {debug: {condition: service_started, required: false}}}
  debug: {image: x, profiles: [dev, debug], privileged: true}
"""
    inspection = inspect_files(tmp_path, compose_yaml=compose)
    assert inspection.blueprint
    assert set(services(inspection.blueprint)) == {"web"}
    assert services(inspection.blueprint)["web"].depends_on == {}
    assert "is not started" in inspection.notes[0].message
    chosen = inspect_files(tmp_path, compose_yaml=compose, sandbox_yaml=SANDBOX + "profiles: [dev]")
    assert [one.key for one in chosen.problems] == ["services.debug.privileged"]
