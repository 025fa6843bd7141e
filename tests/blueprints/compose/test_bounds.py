"""Values that a file may have but a container may not: bounded with a note, or a problem.

A file with a good verdict is launched, so its containers pass the socket proxy as well.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from socket_proxy import bodies
from socket_proxy.settings import Settings

from sandboxes.runtime import HealthCheck, ServiceSpec
from sandboxes.runtime.docker.containers.container_config import ContainerConfig, ContainerPlan
from sandboxes.runtime.docker.names import Names
from tests.blueprints.compose.reading.test_project import services
from tests.blueprints.compose.test_services import inspect_service

SANDBOX = "sbx_0123456789abcdef"
PROXY = Settings("portal", IPv4Network("10.214.0.0/20"))
CONFIG = ContainerConfig(Names("portal"), "127.0.0.1")


def launchable(folder: Path, **keys: Any) -> tuple[ServiceSpec, list[str]]:
    """Return the service that a file describes, and the keys with notes; the proxy allows it."""
    inspection = inspect_service(folder, keys)
    assert inspection.blueprint, inspection.problems
    service = services(inspection.blueprint)["web"]
    spec = inspection.blueprint.spec(SANDBOX, dict.fromkeys(inspection.blueprint.secrets, "x"), 512)
    ports = ContainerPlan(dict.fromkeys(service.ports, 20_000))
    request = CONFIG.config(spec, services_by_name(spec.services)["web"], {}, ports)
    bodies.container(PROXY)(json.loads(json.dumps(request)))
    return service, [note.key.removeprefix("services.web.") for note in inspection.notes]


def services_by_name(found: Any) -> dict[str, ServiceSpec]:
    return {service.name: service for service in found}


HEALTH_CHECK = HealthCheck(("/bin/sh", "-c", "x"), 300.0)
BOUNDED: list[tuple[str, Any, str, Any]] = [
    ("pids_limit", 5000, "pids", 1024),
    ("ulimits", {"nofile": 262_144}, "ulimits", {"nofile": (65_536, 65_536)}),
    ("ulimits", {"nofile": {"soft": 1024, "hard": -1}}, "ulimits", {"nofile": (1024, 65_536)}),
    ("ulimits", {"core": -1}, "ulimits", {}),
    ("ulimits", {"fsize": -1}, "ulimits", {}),
    ("ulimits", {"rtprio": 99}, "ulimits", {}),
    ("stop_grace_period", "99999h", "stop_seconds", 300),
    ("healthcheck", {"test": "x", "timeout": "99999h"}, "healthcheck", HEALTH_CHECK),
]


@pytest.mark.parametrize(("key", "value", "attribute", "bounded"), BOUNDED, ids=str)
def test_a_limit_that_is_too_high_is_bounded_with_a_note(
    tmp_path: Path, key: str, value: Any, attribute: str, bounded: Any
) -> None:
    service, notes = launchable(tmp_path, **{key: value})
    assert getattr(service, attribute) == bounded
    assert [note.partition(".")[0] for note in notes] == [key]


def test_what_counts_as_memory_is_bounded_by_it(tmp_path: Path) -> None:
    keys = {"shm_size": "2gb", "tmpfs": ["/tmp:size=1g"], "mem_limit": "64m"}
    service, notes = launchable(tmp_path, **keys)
    assert (service.shm_mb, service.tmpfs) == (64, {"/tmp": 64})
    assert notes == ["shm_size", "tmpfs"]


UNUSUAL: list[tuple[str, Any, str, Any]] = [
    ("ulimits", {"memlock": -1}, "ulimits", {"memlock": (-1, -1)}),
    ("ulimits", {"nproc": "65535"}, "ulimits", {"nproc": (65_535, 65_535)}),
    ("ulimits", {"memlock": 2**63 - 1}, "ulimits", {"memlock": (-1, -1)}),
    ("environment", {"GF-X": 1.0, "a.b": "x\ny"}, "environment", {"GF-X": "1", "a.b": "x\ny"}),
    ("user", "App.User:Staff", "user", "App.User:Staff"),
    ("user", ":", "user", ""),
    ("stop_signal", "term", "stop_signal", "SIGTERM"),
    ("stop_signal", "SIGRTMIN+3", "stop_signal", "SIGRTMIN+3"),
    ("stop_signal", 9, "stop_signal", "9"),
    ("tmpfs", ["/tmp/", "/tmp:size=8m", "//run/./x"], "tmpfs", {"/tmp": 8, "/run/x": 16}),
    ("tmpfs", ["/dev/shm:size=8m"], "shm_mb", 8),
    ("volumes", [{"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": "8m"}}], "shm_mb", 8),
    ("image", "Registry.example.com:5000/acme/api:1.2", "tmpfs", {}),
]


@pytest.mark.parametrize(("key", "value", "attribute", "expected"), UNUSUAL, ids=str)
def test_an_unusual_value_that_engines_take_is_accepted(
    tmp_path: Path, key: str, value: Any, attribute: str, expected: Any
) -> None:
    service, notes = launchable(tmp_path, **{key: value})
    assert getattr(service, attribute) == expected
    assert notes == []


LONG = f"{'x' * 301}=1\n"
TOP: dict[str, Any] = {
    "configs": {"c": {"content": "x"}},
    "secrets": {
        "s": {"environment": "KEY"},
        "outside": {"file": "../outside"},
        "unreadable": {"file": "x" * 300},
    },
    "sandbox": {"parameters": {"LONG": {"type": "string", "default": ""}}},
}
REFUSED: list[tuple[str, Any, str]] = [
    ("healthcheck", {"test": ["curl", "-f", "x"]}, "isn't a health check"),
    ("healthcheck", {"test": ["CMD"]}, "isn't a health check"),
    ("ulimits", {"nofile": {"soft": 2000, "hard": 1000}}, "higher than the hard one"),
    ("ulimits", {"memlock": {"soft": -1, "hard": 1000}}, "higher than the hard one"),
    ("ulimits", {"files": 1000}, "Unknown limit"),
    ("tmpfs", ["/"], "Nothing can be mounted here"),
    ("tmpfs", ["/my files"], "Nothing can be mounted here"),
    ("tmpfs", [f"/t{number}" for number in range(21)], "more than 20"),
    ("tmpfs", ["/proc"], "belongs to the kernel"),
    ("tmpfs", ["/dev/shm/x"], "belongs to the kernel"),
    ("volumes", ["/proc/x"], "Nothing can be mounted here"),
    ("volumes", ["/sys"], "Nothing can be mounted here"),
    ("volumes", ["/dev/shm"], "has a /dev/shm of its own"),
    ("volumes", [f"/{'x' * 256}"], "too long"),
    ("environment", {"": "x"}, "can't be the name"),
    ("environment", {"A=B": "x"}, "can't be the name"),
    ("environment", ["=x"], "a value, but no name"),
    ("env_file", ["."], "not a regular file"),
    ("environment", {"A": "x" * 200_000}, "at most 127 KB"),
    ("environment", {"A": "${LONG}" * 40}, "at most 127 KB"),
    ("environment", {f"A{number}": "${LONG}" * 30 for number in range(9)}, "1 MB together"),
    ("command", ["x" * 200_000], "at most 127 KB"),
    ("command", ["x"] * 1001, "more than 1000 words"),
    ("healthcheck", {"test": ["CMD", "x" * 200_000]}, "at most 127 KB"),
    ("env_file", "name.env", "no name of a variable"),
    ("env_file", [{"path": "name.env", "format": "raw"}], "no name of a variable"),
    ("env_file", f"{'x' * 300}.env", "File name too long"),
    ("build", "x" * 300, "File name too long"),
    ("build", {"dockerfile": "x" * 300}, "File name too long"),
    ("volumes", [f"./{'x' * 300}:/x"], "File name too long"),
    ("extends", {"file": "x" * 300, "service": "x"}, "File name too long"),
    ("configs", [{"source": "c", "target": "/"}], "No file can be put here"),
    ("configs", [{"source": "c", "target": "/proc/x"}], "No file can be put here"),
    ("configs", [{"source": "c", "target": "/etc/passwd"}], "which user"),
    ("configs", [{"source": "c", "target": "/a/../../b"}], "Invalid path"),
    ("configs", [{"source": "c", "target": f"/{'x' * 256}"}], "too long"),
    ("configs", [{"source": "c", "mode": "07777777"}], "Invalid mode"),
    ("configs", [{"source": "c", "target": "/a"}, {"source": "c", "target": "/a"}], "already"),
    ("configs", [{"source": "c", "target": "/a"}, {"source": "c", "target": "/a/b"}], "already"),
    ("secrets", [{"source": "s", "target": "."}], "kept in memory"),
    ("secrets", [{"source": "s", "target": "/etc/key"}], "kept in memory"),
    ("secrets", [{"source": "s", "target": "../../etc/key"}], "Invalid path"),
    ("secrets", [{"source": "s", "target": "/run/secrets/../key"}], "Invalid path"),
    ("secrets", [{"source": "s", "target": str(number)} for number in range(101)], "100 secrets"),
    ("secrets", ["outside"], "leads out"),
    ("secrets", ["unreadable"], "File name too long"),
    ("image", "postgres:17:latest", "Invalid name of an image"),
    ("image", "acme//api", "Invalid name of an image"),
    ("stop_grace_period", "-1s", "Invalid duration"),
    ("ports", [str(port) for port in range(1000, 1051)], "more than 50 ports"),
    ("working_dir", "app", "Invalid path"),
    ("stop_signal", "SIGFOO", "Unknown signal"),
    ("stop_signal", "65", "Unknown signal"),
    ("mem_limit", "1m", "too little"),
    ("cpus", 0.001, "0.01"),
    ("user", "+0", "Invalid user"),
    ("user", "00:00", "Invalid user"),
    ("user", "a b", "Invalid user"),
    ("environment", {"A": "x\0y"}, "NUL"),
    ("env_file", [{"path": "a.env", "format": "xml"}], "Unknown format"),
    ("env_file", "nul.env", "NUL"),
]


@pytest.mark.parametrize(("key", "value", "says"), REFUSED, ids=lambda part: str(part)[:40])
def test_a_value_that_no_container_can_have_is_a_problem_of_the_file(
    tmp_path: Path, key: str, value: Any, says: str
) -> None:
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "a.env").write_text("A=1\n")
    (tmp_path / "stack" / "nul.env").write_text("A=x\0y\n")
    (tmp_path / "stack" / "name.env").write_text("A=1\n=2\n" if isinstance(value, list) else LONG)
    problems = inspect_service(tmp_path, {key: value}, **TOP).problems
    assert [problem for problem in problems if says in problem.message], problems
    assert all(problem.remedy and problem.line for problem in problems)


@pytest.mark.parametrize(("profiles", "started"), [(["*"], ["db", "web"]), (["a"], ["web"])])
def test_profiles_are_chosen_by_name_or_all_at_once(
    tmp_path: Path, profiles: list[str], started: list[str]
) -> None:
    inspection = inspect_service(
        tmp_path,
        {"profiles": ["a"]},
        services={"db": {"image": "x", "profiles": ["b"]}},
        sandbox={"profiles": profiles},
    )
    assert inspection.blueprint, inspection.problems
    assert sorted(services(inspection.blueprint)) == started


def test_a_file_of_which_nothing_is_started_is_a_problem(tmp_path: Path) -> None:
    (problem,) = inspect_service(tmp_path, {"profiles": ["debug"]}).problems
    assert problem.message == "Every service has a profile."
    assert "debug" in problem.remedy


def test_data_and_secrets_are_not_mounted_over_each_other(tmp_path: Path) -> None:
    keys = {
        "volumes": ["/etc/app", "/run/secrets/data"],
        "configs": [{"source": "c", "target": "/etc/app"}],
        "secrets": ["s"],
    }
    config, data = inspect_service(tmp_path, keys, **TOP).problems
    assert (config.key, "mounted at /etc/app" in config.message) == ("services.web.configs", True)
    assert (data.key, "hidden by" in data.message) == ("services.web.volumes", True)


def test_numbers_that_all_services_and_the_section_have_together_are_bounded(
    tmp_path: Path,
) -> None:
    names = [f"v{number}" for number in range(21)]
    volumes = {"volumes": [f"{name}:/{name}" for name in names]}
    endpoints = {f"e{number}": {"service": "web", "port": 9000 + number} for number in range(30)}
    problems = inspect_service(
        tmp_path,
        volumes | {"ports": [str(port) for port in range(1000, 1030)]},
        services={"other": {"image": "x"} | volumes},
        volumes=dict.fromkeys(names),
        sandbox={"endpoints": endpoints},
    ).problems
    assert {problem.message for problem in problems} == {
        "There are more than 20 volumes shared with other services.",
        "There are more than 50 ports, with those of x-sandbox.",
    }


def references(path: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return keys of a service, and of the file, that name a path."""
    return [
        ({"env_file": path}, {}),
        ({"env_file": [{"path": path, "required": False}]}, {}),
        ({"volumes": [f"{path if path.startswith(('.', '/')) else f'./{path}'}:/x"]}, {}),
        ({"build": path}, {}),
        ({"build": {"dockerfile": path}}, {}),
        ({"extends": {"file": path, "service": "x"}}, {}),
        ({"configs": ["c"]}, {"configs": {"c": {"file": path}}}),
        ({"secrets": ["s"]}, {"secrets": {"s": {"file": path}}}),
        ({}, {"include": [path]}),
        ({}, {"include": [{"path": "a.yaml", "env_file": path}]}),
        ({}, {"sandbox": {"process": {"web": {"command": "x", "files": [path]}}}}),
    ]


OUTSIDE = [
    one for path in ("../../../outside", "/etc/hostname", "link") for one in references(path)
]


@pytest.mark.parametrize(("service", "top"), OUTSIDE, ids=str)
def test_a_folder_next_to_the_shipped_ones_reads_nothing_but_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: dict[str, Any], top: dict[str, Any]
) -> None:
    shipped = tmp_path / "sandboxes" / "blueprints"
    (shipped / "stack").mkdir(parents=True)
    (shipped / "stack" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("A=secret\n")
    monkeypatch.setattr("sandboxes.blueprints.loader.SHIPPED", shipped)
    monkeypatch.setattr("django.conf.settings.BASE_DIR", tmp_path)
    inspection = inspect_service(shipped, service, **top)
    assert [one for one in inspection.problems if "leads out" in one.message], inspection
