"""Blueprints: what is understood, what is refused and how, what becomes of it."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import LazySettings

from sandboxes import blueprints
from sandboxes.blueprints import Blueprint, Problem, addresses
from sandboxes.blueprints.compose import Service
from sandboxes.blueprints.loader import load_blueprint
from sandboxes.blueprints.messages import FORBIDDEN_KEYS, UNSUPPORTED_KEYS
from sandboxes.runtime import (
    LineCount,
    Published,
    ReadyCheck,
    SandboxFacts,
    ServiceFacts,
    ServiceState,
)

MEMORY_MB, CPUS = 512, 1.0
DOCUMENT = Path(__file__).parent.parent / "docs" / "blueprints.md"

TINY = """
name: tiny
services:
  web:
    image: example/web
    build: {context: ., dockerfile: web/Dockerfile}
    environment: {TOKEN: "${TOKEN}", PRICE: "5 $$", WHEN: "${SANDBOX_LAUNCHED_AT}", WORKERS: 2}
    command: serve --name "${SANDBOX_ID} web"
    mem_limit: 128m
    cpus: 0.25
    ports: ["8080"]
    tmpfs: "/tmp:size=16m"
    read_only: true
    ulimits: {nofile: 512}
    shm_size: 32m
    user: "1000"
    depends_on: [store]
    restart: no
  store:
    image: example/store
    environment: ["PASSWORD=${PASSWORD}"]
    entrypoint: [/bin/store, --fast]
    mem_limit: 0.25g
    cpus: 0.5
    pids_limit: 40
    ports: [5432]
    init: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
x-sandbox:
  title: A tiny one
  description: |
    Two services,
    and that is all.
  secrets: {TOKEN: {prefix: tk_}, PASSWORD: {length: 40}}
  endpoints:
    web: {service: web, port: 8080}
    store: {service: store, port: 5432, url: "store://{host}:{port}/x"}
  credentials:
    token: {value: "${TOKEN}"}
    store_url: {endpoint: store, value: "store://me:${PASSWORD}@{host}:{port}/x"}
  ready: [{endpoint: web, path: /ready}]
  reset: {service: store, command: [reset, --now]}
  requests: {service: web, line: "GET|POST"}
  seed: {things: 3}
"""


def tiny() -> dict[str, Any]:
    """A valid blueprint, to be spoiled."""
    parsed: dict[str, Any] = yaml.safe_load(TINY.replace("0.25g", "256m"))
    return parsed


def write(folder: Path, content: dict[str, Any] | str, name: str = "tiny") -> Path:
    (folder / name / "web").mkdir(parents=True, exist_ok=True)
    (folder / name / "web" / "Dockerfile").touch()
    file = folder / name / "compose.yaml"
    file.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return file


@pytest.fixture
def blueprint(tmp_path: Path) -> Blueprint:
    found, problems = load_blueprint(write(tmp_path, tiny()).parent, MEMORY_MB, CPUS)
    assert problems == []
    assert found
    return found


def problems_of(folder: Path, content: dict[str, Any] | str) -> list[Problem]:
    found, problems = load_blueprint(write(folder, content).parent, MEMORY_MB, CPUS)
    assert (found is None) == bool(problems)
    return problems


# --- what ships ----------------------------------------------------------------------------------


def test_the_blueprint_that_ships_is_valid_and_within_a_sandboxs_limits() -> None:
    assert blueprints.problems() == []
    billing = blueprints.load("billing")
    assert (billing.memory_mb, billing.cpus) == (512, 1.0)
    assert dict(billing.seed) == {"plans": 5, "subscribers": 10, "invoices": 20}
    assert set(billing.endpoints) == {"api", "database", "docs"}
    assert (billing.openapi_endpoint, billing.endpoints["api"].bearer) == ("api", "api_key")
    assert set(billing.credentials) == {"api_key", "database_url"}
    assert not billing.egress
    for build in billing.builds.values():
        assert build.dockerfile.is_file()
    assert set(billing.builds) == set(billing.images)


def test_there_is_no_blueprint_of_an_unknown_name() -> None:
    with pytest.raises(blueprints.BlueprintNotFound, match=r"manage\.py check"):
        blueprints.load("nothing")


# --- what becomes of one -------------------------------------------------------------------------


def test_what_is_written_is_what_is_read(blueprint: Blueprint) -> None:
    web, store = blueprint.services
    assert blueprint.name == "tiny"
    assert blueprint.title == "A tiny one"
    assert blueprint.description == "Two services, and that is all."
    assert blueprint.images == ["example/store", "example/web"]
    assert (blueprint.memory_mb, blueprint.cpus) == (384, 0.75)
    assert blueprint.ready == (ReadyCheck("web", 8080, "/ready"),)
    assert blueprint.reset.service == "store"
    assert list(blueprint.reset.command) == ["reset", "--now"]
    assert blueprint.requests == LineCount("web", "GET|POST")
    assert (web.ports, web.tmpfs, web.shm_mb) == ((8080,), {"/tmp": 16}, 32)
    assert (web.read_only, web.user, web.ulimits, web.pids) == (True, "1000", {"nofile": 512}, 128)
    assert (store.entrypoint, store.pids) == (("/bin/store", "--fast"), 40)
    build = blueprint.builds["example/web"]
    assert build.context == blueprint.path
    assert build.dockerfile == blueprint.path / "web" / "Dockerfile"


def test_a_spec_has_its_variables_filled_in(blueprint: Blueprint) -> None:
    variables = blueprint.new_secrets() | {"SANDBOX_LAUNCHED_AT": "now", "UNUSED": "x"}
    spec = blueprint.spec("sbx_1", variables, disk_mb=100)
    web, store = spec.services
    assert web.environment == {
        "TOKEN": variables["TOKEN"],
        "PRICE": "5 $",
        "WHEN": "now",
        "WORKERS": "2",
    }
    assert web.command == ["serve", "--name", "sbx_1 web"]
    assert store.environment == {"PASSWORD": variables["PASSWORD"]}
    assert (spec.id, spec.blueprint, spec.disk_mb, spec.egress) == ("sbx_1", "tiny", 100, False)


def test_a_variable_that_nobody_gave_is_named(blueprint: Blueprint) -> None:
    with pytest.raises(KeyError, match="TOKEN"):
        blueprint.spec("sbx_1", {"SANDBOX_LAUNCHED_AT": "now", "PASSWORD": "x"}, disk_mb=100)


def test_every_sandbox_has_secrets_of_its_own(blueprint: Blueprint) -> None:
    drawn = [blueprint.new_secrets() for _ in range(50)]
    assert len({one["TOKEN"] for one in drawn}) == 50
    assert re.fullmatch(r"tk_[A-Za-z0-9]{32}", drawn[0]["TOKEN"])
    assert re.fullmatch(r"[A-Za-z0-9]{40}", drawn[0]["PASSWORD"])


def facts(host: str) -> SandboxFacts:
    services = {
        "web": ServiceFacts(ServiceState.RUNNING, {8080: Published(host, 49001)}),
        "store": ServiceFacts(ServiceState.RUNNING, {5432: Published(host, 49002)}),
    }
    return SandboxFacts("sbx_1", services, datetime.now(UTC))


def test_urls_and_credentials_follow_from_the_kept_addresses(blueprint: Blueprint) -> None:
    kept = addresses(facts("127.0.0.1"))
    assert kept == {"store:5432": "127.0.0.1:49002", "web:8080": "127.0.0.1:49001"}
    assert blueprint.endpoint_urls(kept) == {
        "web": "http://127.0.0.1:49001",
        "store": "store://127.0.0.1:49002/x",
    }
    secrets = {"TOKEN": "tk_1", "PASSWORD": "pw"}
    assert blueprint.fill_credentials(secrets, kept) == {
        "token": "tk_1",
        "store_url": "store://me:pw@127.0.0.1:49002/x",
    }


def test_an_address_of_ipv6_is_written_as_urls_want_it(blueprint: Blueprint) -> None:
    kept = addresses(facts("::1"))
    assert blueprint.endpoint_urls(kept)["web"] == "http://[::1]:49001"


def test_what_has_no_address_yet_is_left_out(blueprint: Blueprint) -> None:
    assert blueprint.endpoint_urls({}) == {}
    assert blueprint.fill_credentials({"TOKEN": "tk_1", "PASSWORD": "pw"}, {}) == {"token": "tk_1"}


# --- what is refused -----------------------------------------------------------------------------

REFUSED = [
    ("services.web.privileged", True, "root on the host"),
    ("services.web.cap_add", ["NET_ADMIN"], "weaken the confinement"),
    ("services.web.network_mode", "host", "weaken the confinement"),
    ("services.web.pid", "host", "weaken the confinement"),
    ("services.web.devices", ["/dev/kvm"], "weaken the confinement"),
    ("services.web.volumes", ["/etc:/etc"], "escape"),
    ("services.web.healthcheck", {"test": "true"}, "not run"),
    ("services.web.deploy", {}, "Only `mem_limit` and `cpus`"),
    ("services.web.colour", "red", "not supported"),
    ("services.web.image", None, "valid string"),
    ("services.web.image", "A B", "match pattern"),
    ("services.web.mem_limit", "plenty", "not a size"),
    ("services.web.cpus", 0, "greater than 0"),
    ("services.web.pids_limit", "many", "valid integer"),
    ("services.web.ports", ["80:8080"], "container's port alone"),
    ("services.web.ports", ["99999"], "container's port alone"),
    ("services.web.environment", {"A": None}, "no text"),
    ("services.web.environment", ["A"], "no value"),
    ("services.web.command", "say 'hello", "split into words"),
    ("services.web.tmpfs", ["tmp"], "no mount point"),
    ("services.web.tmpfs", ["/tmp:size=lots"], "not a size"),
    ("services.web.ulimits", {"nofile": {"soft": 1, "hard": 2}}, "valid integer"),
    ("services.web.user", "root", "root"),
    ("services.web.user", "0:0", "root"),
    ("services.web.restart", "always", "nothing restarts it"),
    ("services.web.init", False, "init process"),
    ("services.web.cap_drop", ["NET_RAW"], "without any capability"),
    ("services.web.security_opt", ["seccomp:unconfined"], "weaken the confinement"),
    ("services.web.depends_on", {"store": {"condition": "service_healthy"}}, "side by side"),
    ("services.web.depends_on", ["cache"], "no service cache"),
    ("services.web.build", {"context": "elsewhere"}, "There is no file"),
    ("networks", {}, "weaken the confinement"),
    ("volumes", {}, "escape"),
    ("version", "3", "not read it for years"),
    ("name", "other", "name is not that of the folder"),
    ("services", {}, "empty"),
    ("services", [], "not a mapping"),
    ("x-sandbox.colour", "red", "not supported"),
    ("x-sandbox.secrets", {"token": {}}, "name can't be used"),
    ("x-sandbox.secrets", {"SANDBOX_ID": {}}, "portal's own"),
    ("x-sandbox.secrets", {"TOKEN": {"length": 8}, "PASSWORD": {}}, "greater than or equal to 22"),
    ("x-sandbox.endpoints.web.port", 81, "does not publish the port 81"),
    ("x-sandbox.endpoints.web.service", "cache", "no service cache"),
    ("x-sandbox.endpoints.web.openapi", "openapi.json", "match pattern"),
    ("x-sandbox.endpoints.web.bearer", "nothing", "no credential nothing"),
    ("x-sandbox.endpoints.web.url", "http://{ip}", "in place of {ip}"),
    ("x-sandbox.endpoints.web.url", "http://${TOKEN}@{host}", "shown openly"),
    ("x-sandbox.credentials.token.value", "${NOTHING}", "no variable NOTHING"),
    ("x-sandbox.credentials.token.value", "{host}", "of which endpoint"),
    ("x-sandbox.credentials.token.endpoint", "cache", "no endpoint cache"),
    ("x-sandbox.ready", [], "empty"),
    ("x-sandbox.ready", [{"endpoint": "cache", "path": "/"}], "no endpoint cache"),
    ("x-sandbox.ready", [{"endpoint": "web", "path": "ready"}], "match pattern"),
    ("x-sandbox.reset.service", "cache", "no service cache"),
    ("x-sandbox.reset.command", ["reset", "${TOKEN}"], "not filled in here"),
    ("x-sandbox.requests", {"service": "cache", "line": "x"}, "no service cache"),
    ("x-sandbox.requests", {"service": "web"}, "missing"),
    ("x-sandbox.requests", {"service": "web", "line": "(GET"}, "no regular expression"),
    ("x-sandbox.requests.line", "", "at least 1 character"),
    ("x-sandbox.seed", {"things": -1}, "greater than or equal to 0"),
    ("x-sandbox.egress", "perhaps", "valid boolean"),
]


@pytest.mark.parametrize(("key", "value", "said"), REFUSED, ids=lambda part: str(part)[:40])
def test_what_is_not_understood_is_refused_by_its_key_and_with_a_remedy(
    tmp_path: Path, key: str, value: Any, said: str
) -> None:
    spoiled = copy.deepcopy(tiny())
    *path, last = key.split(".")
    place = spoiled
    for part in path:
        place = place[part]
    place[last] = value
    problems = problems_of(tmp_path, spoiled)
    hits = [one for one in problems if said in one.message and one.key.startswith(key)]
    assert hits, problems
    assert all(one.remedy and one.file.name == "compose.yaml" for one in problems)


@pytest.mark.parametrize("key", ["image", "mem_limit", "cpus"])
def test_what_a_service_needs_is_told_when_it_is_missing(tmp_path: Path, key: str) -> None:
    spoiled = tiny()
    del spoiled["services"]["web"][key]
    (problem,) = problems_of(tmp_path, spoiled)
    assert (problem.key, problem.message) == (f"services.web.{key}", "This key is missing.")
    assert "Write" in problem.remedy


@pytest.mark.parametrize("key", ["title", "endpoints", "ready", "reset"])
def test_what_the_portal_needs_is_told_when_it_is_missing(tmp_path: Path, key: str) -> None:
    spoiled = tiny()
    del spoiled["x-sandbox"][key]
    (problem,) = problems_of(tmp_path, spoiled)
    assert problem.key == f"x-sandbox.{key}"


def test_services_share_what_a_sandbox_has(tmp_path: Path) -> None:
    spoiled = tiny()
    spoiled["services"]["web"] |= {"mem_limit": "300m", "cpus": 0.6}
    memory, cpus = problems_of(tmp_path, spoiled)
    assert "556 MB together; a sandbox has 512 MB" in memory.message
    assert "1.1 CPUs together; a sandbox has 1" in cpus.message
    assert "SANDBOX_MEMORY_MB" in memory.remedy


@pytest.mark.parametrize("text", ["${NOTHING}", "$TOKEN", "${TOKEN:-x}", "a $ b"])
def test_only_declared_variables_in_braces_are_understood(tmp_path: Path, text: str) -> None:
    spoiled = tiny()
    spoiled["services"]["web"]["environment"]["X"] = text
    problems = problems_of(tmp_path, spoiled)
    assert {one.key for one in problems} == {"services.web.environment.X"}


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    spoiled = tiny()
    spoiled["services"]["web"] |= {"privileged": True, "cpus": "x"}
    spoiled["services"]["store"]["volumes"] = ["data:/data"]
    assert {one.key for one in problems_of(tmp_path, spoiled)} == {
        "services.web.privileged",
        "services.web.cpus",
        "services.store.volumes",
    }


def test_a_key_that_is_written_twice_is_refused(tmp_path: Path) -> None:
    twice = yaml.safe_dump(tiny()) + "\nname: tiny\n"
    (problem,) = problems_of(tmp_path, twice)
    assert "“name” is there 2 times" in problem.message


@pytest.mark.parametrize(
    "text", ["a: [", "just text", "", "- 1", "\tx: 1", "a: !!python/name:os.system"]
)
def test_what_is_no_blueprint_at_all_is_a_problem_and_no_crash(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text)


def test_values_are_not_repeated_as_they_may_be_secret(tmp_path: Path) -> None:
    spoiled = tiny()
    spoiled["services"]["web"]["mem_limit"] = "s3cret"
    spoiled["x-sandbox"]["secrets"]["TOKEN"] = "s3cret"
    assert "s3cret" not in str(problems_of(tmp_path, spoiled))


def test_a_broken_blueprint_does_not_take_the_others_with_it(
    settings: LazySettings, tmp_path: Path
) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    write(tmp_path, tiny())
    write(tmp_path, tiny(), name="other")
    assert set(blueprints.available()) == {"tiny"}
    assert {one.file.parent.name for one in blueprints.problems()} == {"other"}


def test_a_folder_without_blueprints_is_a_problem(settings: LazySettings, tmp_path: Path) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path / "nowhere"
    (problem,) = blueprints.problems()
    assert "no blueprint here" in problem.message


# --- what is documented --------------------------------------------------------------------------


def test_every_key_of_a_service_has_its_line_in_the_documentation() -> None:
    text = DOCUMENT.read_text()
    keys = {field.alias or name for name, field in Service.model_fields.items()}
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]


def test_every_refusal_with_a_reason_of_its_own_is_about_a_key_that_is_refused() -> None:
    understood = {field.alias or name for name, field in Service.model_fields.items()}
    assert not understood & (set(FORBIDDEN_KEYS) | set(UNSUPPORTED_KEYS))


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(name: .*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "Dockerfile").touch()
    (folder / "compose.yaml").write_text(example[1])
    found, problems = load_blueprint(folder, MEMORY_MB, CPUS)
    assert problems == []
    assert found
