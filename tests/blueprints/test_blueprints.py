"""Loading blueprints: supported keys, error messages, specifications of sandboxes."""

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
from sandboxes.blueprints import Blueprint, addresses
from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.blueprints.blueprint import FirstCall
from sandboxes.blueprints.compose.models import Service
from sandboxes.blueprints.loader import load_blueprint
from sandboxes.blueprints.messages import FORBIDDEN_KEYS, UNSUPPORTED_KEYS
from sandboxes.runtime import (
    HttpCheck,
    LineCount,
    Published,
    SandboxFacts,
    ServiceFacts,
    ServiceState,
)
from tests.helpers.blueprints import CPUS, MEMORY_MB, problems_of, tiny, write

DOCUMENT = Path(__file__).parents[2] / "docs" / "blueprints.md"


@pytest.fixture
def blueprint(tmp_path: Path) -> Blueprint:
    loaded, problems = load_blueprint(write(tmp_path, tiny()).parent, MEMORY_MB, CPUS)
    assert problems == []
    assert loaded
    return loaded


# --- shipped blueprints --------------------------------------------------------------------------


def test_the_shipped_blueprint_is_valid_and_within_the_limits_of_a_sandbox() -> None:
    assert blueprints.problems() == []
    billing = blueprints.load("billing")
    assert (billing.memory_mb, billing.cpus) == (512, 1.0)
    assert dict(billing.seed) == {"plans": 5, "subscribers": 10, "invoices": 20}
    assert set(billing.endpoints) == {"api", "database", "docs"}
    assert billing.openapi_endpoint == "api"
    assert billing.endpoints["api"].auth == Auth(AuthType.BEARER, "api_key")
    assert billing.stellar
    assert set(billing.credentials) == {"api_key", "database_url"}
    assert not billing.egress
    for recipe in billing.recipes.values():
        assert recipe.build and recipe.build.dockerfile.is_file()
    assert {recipe.image for recipe in billing.recipes.values()} == set(billing.images)


def test_loading_an_unknown_name_raises_blueprint_not_found() -> None:
    with pytest.raises(blueprints.BlueprintNotFound, match=r"manage\.py check"):
        blueprints.load("nothing")


# --- loaded blueprints ---------------------------------------------------------------------------


def test_every_key_of_the_file_is_loaded(blueprint: Blueprint) -> None:
    web, store = blueprint.services
    assert blueprint.name == "tiny"
    assert blueprint.title == "Tiny stack"
    assert blueprint.description == "Two services, and nothing else."
    assert blueprint.images == ["example/store", "example/web"]
    assert (blueprint.memory_mb, blueprint.cpus) == (384, 0.75)
    assert blueprint.ready == (HttpCheck("web", 8080, "/ready"),)
    assert blueprint.reset.service == "store"
    assert list(blueprint.reset.command) == ["reset", "--now"]
    assert blueprint.requests == LineCount("web", "GET|POST")
    assert (web.ports, web.tmpfs, web.shm_mb) == ((8080,), {"/tmp": 16}, 32)
    assert (web.read_only, web.user, web.ulimits, web.pids) == (
        True,
        "1000",
        {"nofile": (512, 512)},
        128,
    )
    assert (store.entrypoint, store.pids) == (("/bin/store", "--fast"), 40)
    build = blueprint.recipes["web"].build
    assert build and build.context == blueprint.path
    assert build.dockerfile == blueprint.path / "web" / "Dockerfile"


def test_variables_are_interpolated_in_a_specification(blueprint: Blueprint) -> None:
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


def test_a_missing_variable_is_named_in_the_error(blueprint: Blueprint) -> None:
    with pytest.raises(KeyError, match="TOKEN"):
        blueprint.spec("sbx_1", {"SANDBOX_LAUNCHED_AT": "now", "PASSWORD": "x"}, disk_mb=100)


def test_each_sandbox_gets_its_own_secrets(blueprint: Blueprint) -> None:
    generated = [blueprint.new_secrets() for _ in range(50)]
    assert len({secrets["TOKEN"] for secrets in generated}) == 50
    assert re.fullmatch(r"tk_[A-Za-z0-9]{32}", generated[0]["TOKEN"])
    assert re.fullmatch(r"[A-Za-z0-9]{40}", generated[0]["PASSWORD"])


def facts(host: str) -> SandboxFacts:
    services = {
        "web": ServiceFacts(ServiceState.RUNNING, {8080: Published(host, 49001)}),
        "store": ServiceFacts(ServiceState.RUNNING, {5432: Published(host, 49002)}),
    }
    return SandboxFacts("sbx_1", services, datetime.now(UTC))


def test_urls_and_credentials_contain_the_stored_addresses(blueprint: Blueprint) -> None:
    stored = addresses(facts("127.0.0.1"))
    assert stored == {"store:5432": "127.0.0.1:49002", "web:8080": "127.0.0.1:49001"}
    assert blueprint.endpoint_urls(stored) == {
        "web": "http://127.0.0.1:49001",
        "store": "store://127.0.0.1:49002/x",
    }
    secrets = {"TOKEN": "tk_1", "PASSWORD": "pw"}
    assert blueprint.fill_credentials(secrets, stored) == {
        "token": "tk_1",
        "store_url": "store://me:pw@127.0.0.1:49002/x",
    }


def test_an_ipv6_address_is_bracketed_in_urls(blueprint: Blueprint) -> None:
    stored = addresses(facts("::1"))
    assert blueprint.endpoint_urls(stored)["web"] == "http://[::1]:49001"


def test_endpoints_and_credentials_without_an_address_are_omitted(blueprint: Blueprint) -> None:
    assert blueprint.endpoint_urls({}) == {}
    assert blueprint.fill_credentials({"TOKEN": "tk_1", "PASSWORD": "pw"}, {}) == {"token": "tk_1"}


def endpoint_with(folder: Path, **keys: Any) -> blueprints.Blueprint:
    """Return the small blueprint with these keys of its endpoint `web`."""
    changed = tiny()
    changed["x-sandbox"]["endpoints"]["web"] |= keys
    loaded, problems = load_blueprint(write(folder, changed).parent, MEMORY_MB, CPUS)
    assert problems == []
    assert loaded
    return loaded


@pytest.mark.parametrize(
    ("keys", "headers"),
    [
        ({}, []),
        ({"auth": "none"}, []),
        ({"bearer": "token"}, [("Authorization", "Bearer tk_1")]),
        (
            {"auth": {"type": "bearer", "credential": "token"}},
            [("Authorization", "Bearer tk_1")],
        ),
        (
            {"auth": {"type": "header", "name": "X-Api-Key", "credential": "token"}},
            [("X-Api-Key", "tk_1")],
        ),
        (
            {"auth": {"type": "basic", "username": "ada", "credential": "token"}},
            [("Authorization", "Basic YWRhOnRrXzE=")],
        ),
    ],
)
def test_an_endpoint_says_which_header_authenticates(
    tmp_path: Path, keys: dict[str, Any], headers: list[tuple[str, str]]
) -> None:
    auth = endpoint_with(tmp_path, **keys).endpoints["web"].auth
    assert auth.headers("tk_1") == headers
    assert auth.headers("") == []


def test_bearer_and_auth_exclude_each_other(tmp_path: Path) -> None:
    both = tiny()
    both["x-sandbox"]["endpoints"]["web"] |= {"bearer": "token", "auth": "none"}
    (problem,) = problems_of(tmp_path, both)
    assert "as well" in problem.message


@pytest.mark.parametrize("key", ["first_call", "example"])
def test_the_first_call_goes_to_the_first_web_server_unless_it_names_another(
    tmp_path: Path, key: str
) -> None:
    changed = tiny()
    assert endpoint_with(tmp_path).first_call == FirstCall("web", "GET", "/")
    call = {"method": "POST", "path": "/things", "body": {"n": 1}, "answer": [1]}
    changed["x-sandbox"][key] = call
    loaded, problems = load_blueprint(write(tmp_path, changed).parent, MEMORY_MB, CPUS)
    assert loaded, problems
    assert loaded.first_call == FirstCall("web", "POST", "/things", {"n": 1}, [1])


def test_a_blueprint_chooses_whether_its_sandboxes_have_a_stellar_account(tmp_path: Path) -> None:
    chosen = tiny()
    chosen["x-sandbox"]["stellar"] = True
    chosen["services"]["web"]["environment"]["ACCOUNT"] = "${SANDBOX_STELLAR_PUBLIC_KEY}"
    assert problems_of(tmp_path, chosen) == []
    chosen["x-sandbox"]["secrets"]["STELLAR_SECRET"] = {}
    assert "reserved" in problems_of(tmp_path, chosen)[0].message


# --- rejected values -----------------------------------------------------------------------------

REJECTED = [
    ("services.web.privileged", True, "root on the host"),
    ("services.web.cap_add", ["NET_ADMIN"], "weaken the confinement"),
    ("services.web.network_mode", "host", "weaken the confinement"),
    ("services.web.pid", "host", "weaken the confinement"),
    ("services.web.devices", ["/dev/kvm"], "weaken the confinement"),
    ("services.web.volumes", ["/etc:/etc"], "bypass"),
    ("services.web.healthcheck", {"test": "true"}, "not run"),
    ("services.web.deploy", {}, "Only `mem_limit` and `cpus`"),
    ("services.web.colour", "red", "not supported"),
    ("services.web.image", None, "valid string"),
    ("services.web.image", "A B", "match pattern"),
    ("services.web.mem_limit", "plenty", "Invalid size"),
    ("services.web.cpus", 0, "greater than 0"),
    ("services.web.pids_limit", "many", "valid integer"),
    ("services.web.ports", ["80:8080"], "Only container ports"),
    ("services.web.ports", ["99999"], "Only container ports"),
    ("services.web.environment", {"A": None}, "not text"),
    ("services.web.environment", ["A"], "no value"),
    ("services.web.command", "say 'hello", "split into words"),
    ("services.web.tmpfs", ["tmp"], "Invalid mount point"),
    ("services.web.tmpfs", ["/tmp:size=lots"], "Invalid size"),
    ("services.web.ulimits", {"nofile": {"soft": 1, "hard": 2}}, "valid integer"),
    ("services.web.user", "root", "root"),
    ("services.web.user", "0:0", "root"),
    ("services.web.restart", "always", "not restarted"),
    ("services.web.init", False, "init process"),
    ("services.web.cap_drop", ["NET_RAW"], "without any capability"),
    ("services.web.security_opt", ["seccomp:unconfined"], "weaken the confinement"),
    ("services.web.depends_on", {"store": {"condition": "service_healthy"}}, "in parallel"),
    ("services.web.depends_on", ["cache"], "Unknown service cache"),
    ("services.web.build", {"context": "elsewhere"}, "File not found"),
    ("networks", {}, "weaken the confinement"),
    ("volumes", {}, "bypass"),
    ("version", "3", "ignored it for years"),
    ("name", "other", "name differs from the name of the folder"),
    ("services", {}, "must not be empty"),
    ("services", [], "must be a mapping"),
    ("x-sandbox.colour", "red", "not supported"),
    ("x-sandbox.secrets", {"token": {}}, "Invalid name"),
    ("x-sandbox.secrets", {"SANDBOX_ID": {}}, "reserved"),
    ("x-sandbox.secrets", {"TOKEN": {"length": 8}, "PASSWORD": {}}, "greater than or equal to 22"),
    ("x-sandbox.endpoints.web.port", 81, "doesn't publish port 81"),
    ("x-sandbox.endpoints.web.service", "cache", "Unknown service cache"),
    ("x-sandbox.endpoints.web.openapi", "openapi.json", "match pattern"),
    ("x-sandbox.endpoints.web.bearer", "nothing", "Unknown credential nothing"),
    ("x-sandbox.endpoints.web.auth", "bearer", "bearer needs this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "digest"}, "'none', 'bearer'"),
    ("x-sandbox.endpoints.web.auth", {"type": "bearer", "credential": "key"}, "credential key"),
    ("x-sandbox.endpoints.web.auth", {"type": "header", "credential": "token"}, "needs this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "basic", "credential": "token"}, "needs this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "none", "name": "X-Key"}, "doesn't have this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "header", "name": "X: Y"}, "match pattern"),
    ("x-sandbox.endpoints.web.identity", "/identity", "no credential"),
    ("x-sandbox.endpoints.web.url", "http://{ip}", "Unknown placeholder {ip}"),
    ("x-sandbox.endpoints.web.url", "http://${TOKEN}@{host}", "not secret"),
    ("x-sandbox.credentials.token.value", "${NOTHING}", "Unknown variable NOTHING"),
    ("x-sandbox.credentials.token.value", "{host}", "names no endpoint"),
    ("x-sandbox.credentials.token.endpoint", "cache", "Unknown endpoint cache"),
    ("x-sandbox.credentials", {"my token": {"value": "x"}}, "Invalid name"),
    ("x-sandbox.first_call", {"path": "/", "endpoint": "cache"}, "Unknown endpoint cache"),
    ("x-sandbox.first_call", {"path": "/", "endpoint": "store"}, "http or https URL"),
    ("x-sandbox.first_call", {"path": "/", "method": "BREW"}, "'GET', 'POST'"),
    ("x-sandbox.stellar", "perhaps", "valid boolean"),
    ("services.web.environment.KEY", "${SANDBOX_STELLAR_PUBLIC_KEY}", "Unknown variable"),
    ("x-sandbox.ready", [], "must not be empty"),
    ("x-sandbox.ready", [{"endpoint": "cache", "path": "/"}], "Unknown endpoint cache"),
    ("x-sandbox.ready", [{"endpoint": "web", "path": "ready"}], "match pattern"),
    ("x-sandbox.reset.service", "cache", "Unknown service cache"),
    ("x-sandbox.reset.command", ["reset", "${TOKEN}"], "can't be used here"),
    ("x-sandbox.requests", {"service": "cache", "line": "x"}, "Unknown service cache"),
    ("x-sandbox.requests", {"service": "web"}, "missing"),
    ("x-sandbox.requests", {"service": "web", "line": "(GET"}, "Invalid regular expression"),
    ("x-sandbox.requests.line", "", "at least 1 character"),
    ("x-sandbox.seed", {"things": -1}, "greater than or equal to 0"),
    ("x-sandbox.egress", "perhaps", "valid boolean"),
]


@pytest.mark.parametrize(("key", "value", "message"), REJECTED, ids=lambda part: str(part)[:40])
def test_an_unsupported_value_is_rejected_with_its_key_and_a_remedy(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    broken = copy.deepcopy(tiny())
    *path, last = key.split(".")
    target = broken
    for part in path:
        target = target[part]
    target[last] = value
    problems = problems_of(tmp_path, broken)
    hits = [one for one in problems if message in one.message and one.key.startswith(key)]
    assert hits, problems
    assert all(one.remedy and one.file.name == "compose.yaml" for one in problems)


@pytest.mark.parametrize("key", ["image", "mem_limit", "cpus"])
def test_a_missing_required_key_of_a_service_is_reported(tmp_path: Path, key: str) -> None:
    broken = tiny()
    del broken["services"]["web"][key]
    (problem,) = problems_of(tmp_path, broken)
    assert (problem.key, problem.message) == (f"services.web.{key}", "This key is missing.")
    assert "Write" in problem.remedy


@pytest.mark.parametrize("key", ["title", "endpoints", "ready", "reset"])
def test_a_missing_required_key_of_x_sandbox_is_reported(tmp_path: Path, key: str) -> None:
    broken = tiny()
    del broken["x-sandbox"][key]
    (problem,) = problems_of(tmp_path, broken)
    assert problem.key == f"x-sandbox.{key}"


def test_services_share_the_limits_of_a_sandbox(tmp_path: Path) -> None:
    broken = tiny()
    broken["services"]["web"] |= {"mem_limit": "300m", "cpus": 0.6}
    memory, cpus = problems_of(tmp_path, broken)
    assert "556 MB together; a sandbox has 512 MB" in memory.message
    assert "1.1 CPUs together; a sandbox has 1" in cpus.message
    assert "SANDBOX_MEMORY_MB" in memory.remedy


@pytest.mark.parametrize("text", ["${NOTHING}", "$TOKEN", "${TOKEN:-x}", "a $ b"])
def test_only_declared_variables_in_braces_are_supported(tmp_path: Path, text: str) -> None:
    broken = tiny()
    broken["services"]["web"]["environment"]["X"] = text
    problems = problems_of(tmp_path, broken)
    assert {one.key for one in problems} == {"services.web.environment.X"}


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    broken = tiny()
    broken["services"]["web"] |= {"privileged": True, "cpus": "x"}
    broken["services"]["store"]["volumes"] = ["data:/data"]
    assert {one.key for one in problems_of(tmp_path, broken)} == {
        "services.web.privileged",
        "services.web.cpus",
        "services.store.volumes",
    }


def test_a_duplicate_key_is_rejected(tmp_path: Path) -> None:
    twice = yaml.safe_dump(tiny()) + "\nname: tiny\n"
    (problem,) = problems_of(tmp_path, twice)
    assert "“name” occurs 2 times" in problem.message


@pytest.mark.parametrize(
    "text", ["a: [", "just text", "", "- 1", "\tx: 1", "a: !!python/name:os.system"]
)
def test_a_file_that_is_not_a_blueprint_is_a_problem_not_a_crash(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text)


def test_problems_never_contain_values_as_they_may_be_secret(tmp_path: Path) -> None:
    broken = tiny()
    broken["services"]["web"]["mem_limit"] = "s3cret"
    broken["x-sandbox"]["secrets"]["TOKEN"] = "s3cret"
    assert "s3cret" not in str(problems_of(tmp_path, broken))


def test_a_broken_blueprint_does_not_affect_the_others(
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
    assert "contains no blueprint" in problem.message


# --- documentation -------------------------------------------------------------------------------


def test_every_supported_key_of_a_service_is_documented() -> None:
    text = DOCUMENT.read_text()
    keys = {field.alias or name for name, field in Service.model_fields.items()}
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]


def test_no_supported_key_has_a_message_for_unsupported_keys() -> None:
    supported = {field.alias or name for name, field in Service.model_fields.items()}
    assert not supported & (set(FORBIDDEN_KEYS) | set(UNSUPPORTED_KEYS))


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(name: .*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "Dockerfile").touch()
    (folder / "compose.yaml").write_text(example[1])
    loaded, problems = load_blueprint(folder, MEMORY_MB, CPUS)
    assert problems == []
    assert loaded
