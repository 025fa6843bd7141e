"""Loading blueprints: supported keys, error messages, specifications of sandboxes."""

from __future__ import annotations

import copy
import os
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
from sandboxes.blueprints.compose import verdicts
from sandboxes.blueprints.loader import inspect, load_blueprint
from sandboxes.runtime import (
    HttpCheck,
    LineCount,
    Published,
    SandboxFacts,
    ServiceFacts,
    ServiceState,
    TcpCheck,
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
    assert blueprint.images == ["sandboxportal/tiny-store", "sandboxportal/tiny-web"]
    assert (blueprint.memory_mb, blueprint.cpus) == (384, 0.75)
    assert blueprint.ready == (HttpCheck("web", 8080, "/ready"),)
    assert blueprint.reset
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
    assert endpoint_with(tmp_path).snippet_call == FirstCall("web", "GET", "/")
    call = {"method": "POST", "path": "/things", "body": {"n": 1}, "answer": [1]}
    changed["x-sandbox"][key] = call
    loaded, problems = load_blueprint(write(tmp_path, changed).parent, MEMORY_MB, CPUS)
    assert loaded, problems
    assert loaded.first_call == FirstCall("web", "POST", "/things", {"n": 1}, [1])
    assert loaded.snippet_call == loaded.first_call


def test_a_blueprint_chooses_whether_its_sandboxes_have_a_stellar_account(tmp_path: Path) -> None:
    chosen = tiny()
    chosen["x-sandbox"]["stellar"] = True
    chosen["services"]["web"]["environment"]["ACCOUNT"] = "${SANDBOX_STELLAR_PUBLIC_KEY}"
    assert problems_of(tmp_path, chosen) == []
    chosen["x-sandbox"]["secrets"]["STELLAR_SECRET"] = {}
    assert "reserved" in problems_of(tmp_path, chosen)[0].message


# --- rejected values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("endpoints", {"web": {"service": "migrate", "port": 80}}),
        ("ready", [{"service": "migrate"}]),
        ("reset", {"service": "migrate", "command": "reset"}),
    ],
)
def test_a_service_for_whose_completion_others_wait_is_not_used_later(tmp_path, key, value):
    services = {
        "web": {"image": "nginx", "depends_on": {"migrate": COMPLETED}},
        "migrate": {"image": "nginx"},
    }
    [problem] = problems_of(tmp_path, {"services": services, "x-sandbox": {key: value}})

    assert problem.key.startswith(f"x-sandbox.{key}.")
    assert problem.key.endswith(".service")
    assert problem.line > 0
    assert "has ended" in problem.message


def test_an_invalid_image_is_one_problem(tmp_path):
    content = tiny()
    content["services"]["web"]["image"] = "nginx:"

    assert [one.message for one in problems_of(tmp_path, content)] == ["Invalid name of an image."]


COMPLETED = {"condition": "service_completed_successfully"}

REJECTED = [
    ("services.web.colour", "red", "not part of the Compose Specification"),
    ("services.web.image", "A B", "Invalid name of an image"),
    ("services.web.mem_limit", "plenty", "Invalid size"),
    ("services.web.cpus", -1, "0.01"),
    ("services.web.pids_limit", "many", "must be an integer"),
    ("services.web.ports", ["99999"], "Invalid port"),
    ("services.web.ports", ["http"], "Invalid port"),
    ("services.web.ports", ["1000-2000"], "more than 50 ports"),
    ("services.web.environment", {"A": {"b": "c"}}, "not text"),
    ("services.web.command", "say 'hello", "split into words"),
    ("services.web.tmpfs", ["tmp"], "Invalid mount point"),
    ("services.web.tmpfs", ["/tmp:size=lots"], "Invalid size"),
    ("services.web.ulimits", {"nofile": "many"}, "must be an integer"),
    ("services.web.user", "root", "root"),
    ("services.web.user", "0:0", "root"),
    ("services.web.depends_on", ["cache"], "Unknown service cache"),
    (
        "services.web.depends_on",
        {"store": {"condition": "soon"}},
        "must be one of",
    ),
    ("services.web.build", {"context": "elsewhere"}, "not a folder"),
    ("services.web.build", {"dockerfile": "elsewhere"}, "File not found"),
    ("services.web.build", "https://example.com/x.git", "folders of the blueprint"),
    ("services.web.healthcheck", {"test": "true", "interval": "soon"}, "Invalid duration"),
    ("services.web.volumes", ["./data:data"], "not absolute"),
    ("services.web.volumes", ["C:\\data:/data"], "path of Windows"),
    ("services.web.volumes", ["./a:/a", "./b:/a"], "mounted here already"),
    ("services.web.secrets", ["key"], "no entry key"),
    ("services.web.stop_grace_period", "long", "Invalid duration"),
    ("services.web.hostname", "no host", "Invalid host name"),
    ("services", {}, "no services"),
    ("services", [], "must be a mapping"),
    ("services", {"web": "nginx"}, "must be a mapping"),
    ("services", {"a b": {"image": "x"}}, "Invalid name"),
    ("services", {"web": {"command": "x"}}, "neither an image nor a build"),
    ("colour", "red", "not part of the Compose Specification"),
    ("x-sandbox", "text", "must be a mapping"),
    ("x-sandbox.colour", "red", "not supported"),
    ("x-sandbox.title", "x" * 61, "more than 60 characters"),
    ("x-sandbox.secrets", {"token": {}}, "Invalid name"),
    ("x-sandbox.secrets", {"SANDBOX_ID": {}}, "reserved"),
    ("x-sandbox.secrets", {"TOKEN": {"length": 8}, "PASSWORD": {}}, "at least 22"),
    ("x-sandbox.profiles", ["debug"], "No service has the profile debug"),
    ("x-sandbox.root", ["cache"], "Unknown service cache"),
    ("x-sandbox.endpoints.web.service", "cache", "Unknown service cache"),
    ("x-sandbox.endpoints.WEB", {"service": "web", "port": 8080}, "is the one of web"),
    ("x-sandbox.endpoints.web_url", {"service": "web", "port": 80}, "WEB_URL, like endpoints.web"),
    ("x-sandbox.credentials.web_url", {"value": "x"}, "WEB_URL, like endpoints.web"),
    ("x-sandbox.credentials.store_URL", {"value": "x"}, "STORE_URL, like credentials.store_url"),
    ("x-sandbox.endpoints.web.openapi", "openapi.json", "match the pattern"),
    ("x-sandbox.endpoints.web.bearer", "nothing", "Unknown credential nothing"),
    ("x-sandbox.endpoints.web.auth", "bearer", "bearer needs this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "digest"}, "'none', 'bearer'"),
    ("x-sandbox.endpoints.web.auth", {"type": "bearer", "credential": "key"}, "credential key"),
    ("x-sandbox.endpoints.web.auth", {"type": "header", "credential": "token"}, "needs this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "basic", "credential": "token"}, "needs this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "none", "name": "X-Key"}, "doesn't have this key"),
    ("x-sandbox.endpoints.web.auth", {"type": "header", "name": "X: Y"}, "match the pattern"),
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
    ("x-sandbox.stellar", "perhaps", "true or false"),
    ("services.web.environment.KEY", "${SANDBOX_STELLAR_PUBLIC_KEY}", "Unknown variable"),
    ("x-sandbox.ready", [{"endpoint": "cache", "path": "/"}], "Unknown endpoint cache"),
    ("x-sandbox.ready", [{"endpoint": "web", "path": "ready"}], "match the pattern"),
    ("x-sandbox.ready", [{"path": "/"}], "Either an endpoint or a service"),
    ("x-sandbox.ready", [{"service": "web", "path": "/"}], "has no port"),
    ("x-sandbox.reset.service", "cache", "Unknown service cache"),
    ("x-sandbox.reset.command", ["reset", "${TOKEN}"], "can't be used here"),
    ("x-sandbox.requests", {"service": "cache", "line": "x"}, "Unknown service cache"),
    ("x-sandbox.requests", {"service": "web"}, "missing"),
    ("x-sandbox.requests", {"service": "web", "line": "(GET"}, "Invalid regular expression"),
    ("x-sandbox.requests.line", "(?!x)(a+)+$", "could take very long"),
    ("x-sandbox.requests.line", r"(a*)\1*b", "could take very long"),
    ("x-sandbox.requests.line", "(?!x)" + "a?" * 30 + "a" * 30, "could take very long"),
    ("x-sandbox.requests.line", r"(?!x)(?:\\*)*y", "could take very long"),
    ("x-sandbox.requests.line", "(?!x)(?:a|aa)*y", "could take very long"),
    ("x-sandbox.requests.line", "(?u)(?!x)a", "with a bytes pattern"),
    ("x-sandbox.requests.line", "a{4294967296}", "repetition number is too large"),
    ("x-sandbox.requests.line", "", "must not be empty"),
    ("x-sandbox.seed", {"things": -1}, "at least 0"),
    ("x-sandbox.egress", "perhaps", "true or false"),
    ("x-sandbox.access", "everyone", "'open' or 'owner'"),
    ("x-sandbox.endpoints.web.port", 70_000, "at most 65535"),
    ("x-sandbox.ready", [{"service": "web", "port": 70_000}], "at most 65535"),
    ("x-sandbox.endpoints.web.url", "javascript:alert(1)//{host}", "A browser would run this"),
    ("x-sandbox.endpoints.web.url", "Data:text/html,{host}", "A browser would run this"),
    ("x-sandbox.endpoints.web.url", "http://{host}/a b", "Invalid URL"),
    ("x-sandbox.title", "a\u202eb", "invisible"),
    ("x-sandbox.seed", {"a\x07": 1}, "invisible"),
    ("x-sandbox.credentials.token.value", "${TOKEN}\nADMIN=1", "line breaks"),
    ("x-sandbox.credentials.token.value", "${TOKEN}" * 300, "more than 2000 characters"),
    ("x-sandbox.first_call", {"path": "/", "body": "x" * 30_000}, "too long for a page"),
    ("x-sandbox.parameters", {"p": {"type": "enum", "values": ["a\nb"], "default": "a"}}, "line"),
    ("x-sandbox.process", {"web": {"command": "x", "environment": {"": "x"}}}, "can't be the name"),
]

REMEDIES = [
    ("services.web.volumes", [{"type": "npipe", "target": "/x"}], "volume, bind or tmpfs"),
    ("services.web.deploy", {"resources": {"limits": []}}, "memory: 256m"),
    ("x-sandbox.endpoints.web.auth", {"type": "digest"}, "none, bearer, header or basic"),
    ("x-sandbox.endpoints.web.auth", {"type": "header", "name": "X: Y"}, "X-Api-Key"),
    ("x-sandbox.endpoints.web.auth", {"type": "header", "name": "HOST"}, "X-Api-Key"),
]


@pytest.mark.parametrize(("key", "value", "remedy"), REMEDIES, ids=lambda part: str(part)[:40])
def test_a_remedy_fits_the_key_that_is_meant(
    tmp_path: Path, key: str, value: Any, remedy: str
) -> None:
    problems = problems_of(tmp_path, changed(key, value))
    assert [one for one in problems if remedy in one.remedy and one.key.startswith(key)], problems


def changed(key: str, value: Any) -> dict[str, Any]:
    """Return the small blueprint with another value at a path."""
    broken = copy.deepcopy(tiny())
    *path, last = key.split(".")
    target = broken
    for part in path:
        target = target[part]
    target[last] = value
    return broken


@pytest.mark.parametrize(("key", "value", "message"), REJECTED, ids=lambda part: str(part)[:40])
def test_an_unsupported_value_is_rejected_with_its_key_and_a_remedy(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    problems = problems_of(tmp_path, changed(key, value))
    hits = [one for one in problems if message in one.message and one.key.startswith(key)]
    assert hits, problems
    assert all(one.remedy and one.file.name == "compose.yaml" for one in problems)


@pytest.mark.parametrize("key", ["title", "endpoints", "ready", "reset"])
def test_the_section_needs_no_key(tmp_path: Path, key: str) -> None:
    short = tiny()
    del short["x-sandbox"][key]
    short["x-sandbox"].pop("credentials")
    if key == "endpoints":
        del short["x-sandbox"]["ready"]
    assert problems_of(tmp_path, short) == []


def test_without_checks_all_ports_must_accept_connections(tmp_path: Path) -> None:
    short = tiny()
    del short["x-sandbox"]["ready"]
    loaded, _ = load_blueprint(write(tmp_path, short).parent, MEMORY_MB, CPUS)
    assert loaded
    assert loaded.ready == (TcpCheck("web", 8080), TcpCheck("store", 5432))


def test_the_port_of_an_endpoint_is_published(tmp_path: Path) -> None:
    short = tiny()
    del short["services"]["web"]["ports"]
    loaded, problems = load_blueprint(write(tmp_path, short).parent, MEMORY_MB, CPUS)
    assert loaded, problems
    assert loaded.published_ports["web"] == (8080,)


def test_services_share_the_limits_of_a_sandbox(tmp_path: Path) -> None:
    broken = tiny()
    broken["services"]["web"] |= {"mem_limit": "300m", "cpus": 0.6}
    memory, cpus = problems_of(tmp_path, broken)
    assert "556 MB together; a sandbox has 512 MB" in memory.message
    assert "1.1 CPUs together; a sandbox has 1" in cpus.message
    assert "SANDBOX_MEMORY_MB" in memory.remedy


def test_services_without_limits_get_equal_shares_of_the_rest(tmp_path: Path) -> None:
    written = tiny()
    written["services"]["web"] |= {"mem_limit": "128m", "cpus": 0.25}
    for key in ("mem_limit", "cpus"):
        del written["services"]["store"][key]
    written["services"]["cache"] = {"image": "example/cache"}
    limits = {"memory": "4G", "cpus": "2"}
    written["services"]["queue"] = {"image": "x", "deploy": {"resources": {"limits": limits}}}
    inspection = inspect(write(tmp_path, written).parent, MEMORY_MB, CPUS)
    assert inspection.blueprint, inspection.problems
    services = inspection.blueprint.services
    assert [service.memory_mb for service in services] == [128, 128, 128, 128]
    assert [service.cpus for service in services] == [0.25, 0.25, 0.25, 0.25]
    (note,) = (note for note in inspection.notes if note.key == "services.queue.deploy")
    assert "gets 128 MB" in note.message


def test_too_many_services_for_a_sandbox_are_a_problem(tmp_path: Path) -> None:
    many = tiny()
    many["services"] |= {f"s{number}": {"image": "x"} for number in range(20)}
    (problem,) = problems_of(tmp_path, many)
    assert (problem.key, "SANDBOX_MEMORY_MB" in problem.remedy) == ("services", True)


def test_all_problems_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    broken = tiny()
    broken["services"]["web"] |= {"privileged": True, "cpus": "x", "user": "root"}
    broken["services"]["store"]["volumes"] = ["/etc:/etc", "data:data"]
    broken["x-sandbox"]["egress"] = "perhaps"
    broken["x-sandbox"]["reset"]["service"] = "cache"
    problems = problems_of(tmp_path, broken)
    assert {one.key for one in problems} == {
        "services.web.privileged",
        "services.web.cpus",
        "services.web.user",
        "services.store.volumes.0",
        "services.store.volumes.1",
        "x-sandbox.egress",
        "x-sandbox.reset.service",
    }
    lines = (tmp_path / "tiny" / "compose.yaml").read_text().splitlines()
    for one in problems:
        last = next(part for part in reversed(one.key.split(".")) if not part.isdigit())
        assert last in lines[one.line - 1] or lines[one.line - 1].strip().startswith("- ")


def test_a_duplicate_key_is_rejected(tmp_path: Path) -> None:
    twice = yaml.safe_dump(tiny()) + "\nname: tiny\n"
    (problem,) = problems_of(tmp_path, twice)
    assert "“name” occurs twice" in problem.message


@pytest.mark.parametrize(
    "text", ["a: [", "just text", "", "- 1", "\tx: 1", "a: !!python/name:os.system"]
)
def test_a_file_that_is_not_a_blueprint_is_a_problem_not_a_crash(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text)


def test_problems_never_contain_values_as_they_may_be_secret(tmp_path: Path) -> None:
    broken = tiny()
    broken["services"]["web"] |= {
        "mem_limit": "s3cret",
        "ports": ["s3cret"],
        "volumes": ["s3cret:x"],
    }
    broken["services"]["web"]["image"] = "s3cret "
    broken["x-sandbox"]["secrets"]["TOKEN"] = "s3cret"
    assert "s3cret" not in str(problems_of(tmp_path, broken))


def test_a_broken_blueprint_does_not_affect_the_others(
    settings: LazySettings, tmp_path: Path
) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    write(tmp_path, tiny())
    write(tmp_path, "services: [", name="other")
    assert set(blueprints.available()) == {"tiny"}
    assert {one.file.parent.name for one in blueprints.problems()} == {"other"}


def test_a_folder_name_that_is_not_in_utf_8_is_a_problem_that_can_be_shown(
    settings: LazySettings, tmp_path: Path
) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    write(tmp_path, tiny())
    write(tmp_path, tiny(), name=os.fsdecode(b"caf\xe9"))
    assert set(blueprints.available()) == {"tiny"}
    shown = [f"{problem} {problem.remedy}" for problem in blueprints.problems()]
    assert shown
    assert all(text.encode() and "caf\ufffd" in text for text in shown)


def test_a_title_is_one_line(tmp_path: Path) -> None:
    loaded, problems = load_blueprint(
        write(tmp_path, changed("x-sandbox.title", "Two\n lines\n")).parent, MEMORY_MB, CPUS
    )
    assert loaded, problems
    assert loaded.title == "Two lines"


def test_a_folder_without_blueprints_is_a_problem(settings: LazySettings, tmp_path: Path) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path / "nowhere"
    (problem,) = blueprints.problems()
    assert "contains no blueprint" in problem.message


# --- documentation -------------------------------------------------------------------------------


def test_the_documentation_shows_the_verdict_on_every_key() -> None:
    assert verdicts.markdown() in DOCUMENT.read_text(), verdicts.markdown()


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(services:.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "Dockerfile").touch()
    (folder / "compose.yaml").write_text(example[1])
    loaded, problems = load_blueprint(folder, MEMORY_MB, CPUS)
    assert problems == []
    assert loaded
