"""What the keys of a service become: verdicts, data, files, order and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import LazySettings

from sandboxes.blueprints.compose import verdicts
from sandboxes.blueprints.compose.limits import share
from sandboxes.blueprints.compose.verdicts import Verdict
from sandboxes.blueprints.loader import Inspection, inspect
from sandboxes.runtime import Bind, HealthyCheck, StartCondition, TcpCheck
from tests.blueprints.compose.reading.test_project import services

SPECIFICATION = [
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
]
"""Keys of a service in the schema of the Compose Specification."""


def inspect_service(folder: Path, service: dict[str, Any], **top: Any) -> Inspection:
    section = {"secrets": {"KEY": {}}, **top.pop("sandbox", {})}
    others = top.pop("services", {})
    content = {"services": {"web": {"image": "nginx", **service}, **others}, **top}
    (folder / "stack").mkdir(exist_ok=True)
    (folder / "stack" / "compose.yaml").write_text(yaml.safe_dump(content | {"x-sandbox": section}))
    return inspect(folder / "stack", 512, 1.0)


def test_every_key_of_the_specification_has_one_verdict() -> None:
    assert sorted(key.name for key in verdicts.SERVICE) == SPECIFICATION


REFUSED: list[tuple[str, Any]] = [
    ("privileged", True),
    ("cap_add", ["NET_ADMIN"]),
    ("cap_add", ["CHOWN"]),
    ("security_opt", ["seccomp:unconfined"]),
    ("security_opt", ["no-new-privileges:true", "apparmor=unconfined"]),
    ("devices", ["/dev/kvm"]),
    ("gpus", "all"),
    ("network_mode", "host"),
    ("network_mode", "service:vpn"),
    ("pid", "host"),
    ("ipc", "host"),
    ("uts", "host"),
    ("userns_mode", "host"),
    ("cgroup", "host"),
    ("cgroup_parent", "/"),
    ("sysctls", {"net.core.somaxconn": 1}),
    ("runtime", "nvidia"),
    ("use_api_socket", True),
    ("group_add", ["docker"]),
    ("provider", {"type": "model"}),
    ("post_start", [{"command": "x", "user": "root"}]),
    ("volumes", ["/var/run/docker.sock:/s"]),
    ("build", {"context": ".", "network": "host"}),
    ("build", {"context": ".", "ssh": ["default"]}),
    ("build", {"context": ".", "privileged": True}),
    ("deploy", {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}}),
]


@pytest.mark.parametrize(("key", "value"), REFUSED, ids=str)
def test_a_key_that_weakens_the_confinement_is_refused(
    tmp_path: Path, key: str, value: Any
) -> None:
    problems = inspect_service(tmp_path, {key: value}).problems
    hits = [one for one in problems if "weaken the confinement" in one.message]
    assert [one for one in hits if one.key.startswith(f"services.web.{key}")], problems
    assert all(one.remedy and one.line for one in problems)


HARMLESS: list[tuple[str, Any]] = [
    ("privileged", False),
    ("cap_add", ["NET_BIND_SERVICE"]),
    ("security_opt", ["no-new-privileges:true"]),
    ("network_mode", "bridge"),
    ("ipc", "private"),
    ("restart", "no"),
    ("init", True),
    ("cap_drop", ["ALL"]),
    ("x-anything", {"a": 1}),
]


@pytest.mark.parametrize(("key", "value"), HARMLESS, ids=str)
def test_a_harmless_value_is_accepted_without_a_note(tmp_path: Path, key: str, value: Any) -> None:
    inspection = inspect_service(tmp_path, {key: value})
    assert (inspection.problems, inspection.notes) == ([], [])


IGNORED: list[tuple[str, Any]] = [
    ("restart", "always"),
    ("init", False),
    ("cap_drop", ["NET_RAW"]),
    ("expose", ["80"]),
    ("labels", {"rule": "Host(`${KEY}`)"}),
    ("logging", {"driver": "none"}),
    ("extra_hosts", ["a:1.2.3.4"]),
    ("tty", True),
    ("deploy", {"replicas": 3}),
    ("volumes", ["/etc/localtime:/etc/localtime:ro"]),
    ("ports", ["53:53/udp"]),
]


@pytest.mark.parametrize(("key", "value"), IGNORED, ids=str)
def test_a_key_without_effect_gets_a_note_with_its_line(
    tmp_path: Path, key: str, value: Any
) -> None:
    inspection = inspect_service(tmp_path, {key: value})
    assert inspection.blueprint, inspection.problems
    (note,) = inspection.notes
    assert note.key.startswith(f"services.web.{key}")
    assert note.line


@pytest.mark.parametrize(
    "key", [key.name for key in verdicts.SERVICE if key.verdict is Verdict.IGNORED]
)
def test_ignored_keys_never_reach_the_models(tmp_path: Path, key: str) -> None:
    inspection = inspect_service(tmp_path, {key: ["some", {"nested": "${KEY} $"}]})
    assert inspection.problems == []


def test_data_of_one_service_is_in_its_layer_and_shared_data_in_a_volume(tmp_path: Path) -> None:
    (tmp_path / "stack" / "conf").mkdir(parents=True)
    inspection = inspect_service(
        tmp_path,
        {
            "volumes": [
                "own:/own",
                "/anonymous",
                "shared:/shared",
                "./missing:/missing",
                "./both:/both",
                "./conf:/conf:ro",
                {"type": "tmpfs", "target": "/cache", "tmpfs": {"size": "10m"}},
            ],
            "read_only": True,
        },
        services={"worker": {"image": "x", "volumes": ["shared:/data:ro", "./both:/b"]}},
        volumes={"own": None, "shared": {}},
    )
    assert inspection.blueprint, inspection.problems
    web, recipe = inspection.blueprint.services[0], inspection.blueprint.recipes["web"]
    assert recipe.directories == ("/own", "/anonymous", "/missing")
    assert recipe.shared_directories == ("/shared", "/both")
    assert recipe.binds == {"/conf": Bind(tmp_path / "stack" / "conf", read_only=True)}
    assert web.volumes == {"/shared": "shared", "/both": "folder-both"}
    assert services(inspection.blueprint)["worker"].volumes == {
        "/data": "shared",
        "/b": "folder-both",
    }
    assert web.tmpfs == {"/cache": 10}
    assert not web.read_only
    assert [note.key for note in inspection.notes] == ["services.web.read_only"]


@pytest.mark.parametrize("source", ["..", "/etc", "./link", "~/x", "../stack-2", "/"])
def test_a_mount_must_not_lead_out_of_the_folder(tmp_path: Path, source: str) -> None:
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "link").symlink_to("/etc")
    (problem,) = inspect_service(tmp_path, {"volumes": [f"{source}:/x"]}).problems
    assert problem.key == "services.web.volumes.0"
    assert "leads out" in problem.message or "of the host" in problem.message


def test_configs_and_secrets_become_files(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "key.pem").write_text("pem $x")
    inspection = inspect_service(
        tmp_path,
        {
            "configs": ["inline", {"source": "file", "target": "/etc/file", "mode": 0o400}],
            "secrets": ["key", "pem", {"source": "lost", "target": "db"}, "variable"],
        },
        configs={"inline": {"content": "a=${KEY} $$x"}, "file": {"file": "./key.pem"}},
        secrets={
            "key": {"file": "./key.txt"},
            "pem": {"file": "key.pem"},
            "lost": {"file": "./lost.txt"},
            "variable": {"environment": "KEY"},
        },
    )
    assert inspection.blueprint, inspection.problems
    assert set(inspection.blueprint.secrets) == {"KEY", "LOST"}
    assert any("random LOST" in note.message for note in inspection.notes)
    assert inspection.blueprint.recipes["web"].needs_shell
    spec = inspection.blueprint.spec("sbx_1", {"KEY": "k", "LOST": "l"}, disk_mb=1)
    files = {path: (file.content, file.mode) for path, file in spec.services[0].files.items()}
    assert files == {
        "/inline": ("a=k $x", 0o444),
        "/etc/file": ("pem $x", 0o400),
        "/run/secrets/key": ("k", 0o444),
        "/run/secrets/pem": ("pem $x", 0o444),
        "/run/secrets/db": ("l", 0o444),
        "/run/secrets/variable": ("k", 0o444),
    }


def test_conditions_give_the_order_and_say_which_services_complete(tmp_path: Path) -> None:
    inspection = inspect_service(
        tmp_path,
        {
            "depends_on": {
                "db": {"condition": "service_healthy", "restart": True},
                "migrate": {"condition": "service_completed_successfully"},
            },
            "ports": ["80"],
        },
        services={
            "db": {
                "image": "pg",
                "ports": ["5432"],
                "healthcheck": {"test": "pg_isready -U ${KEY}", "timeout": "1m1s", "retries": 5},
            },
            "migrate": {"image": "m", "links": ["db:database"], "ports": ["1"]},
        },
    )
    assert inspection.blueprint, inspection.problems
    found = services(inspection.blueprint)
    assert found["web"].depends_on == {
        "db": StartCondition.HEALTHY,
        "migrate": StartCondition.COMPLETED,
    }
    assert found["migrate"].depends_on == {"db": StartCondition.STARTED}
    assert (found["migrate"].one_shot, found["migrate"].ports) == (True, ())
    assert found["db"].aliases == ("database",)
    assert set(inspection.blueprint.ready) == {TcpCheck("web", 80), HealthyCheck("db")}
    check = services_of_a_sandbox(inspection)["db"].healthcheck
    assert check
    assert (list(check.command), check.timeout) == (["/bin/sh", "-c", "pg_isready -U k"], 61.0)


def services_of_a_sandbox(inspection: Inspection) -> dict[str, Any]:
    assert inspection.blueprint
    spec = inspection.blueprint.spec("sbx_1", {"KEY": "k"}, disk_mb=1)
    return {service.name: service for service in spec.services}


@pytest.mark.parametrize("check", [{"disable": True}, {"test": ["NONE"]}, {"interval": "5s"}])
def test_a_disabled_health_check_is_none(tmp_path: Path, check: dict[str, Any]) -> None:
    assert (
        services_of_a_sandbox(inspect_service(tmp_path, {"healthcheck": check}))["web"].healthcheck
        is None
    )


def test_a_service_is_reached_by_all_its_names(tmp_path: Path) -> None:
    inspection = inspect_service(
        tmp_path,
        {
            "container_name": "acme_web",
            "hostname": "web.local",
            "networks": {"front": {"aliases": ["www", "web", "bad name"]}, "back": None},
        },
        networks={"front": None},
    )
    assert inspection.blueprint, inspection.problems
    web = inspection.blueprint.services[0]
    assert (web.hostname, web.aliases) == ("web.local", ("acme_web", "www"))


def test_forms_of_limits_and_ports(tmp_path: Path) -> None:
    inspection = inspect_service(
        tmp_path,
        {
            "ports": [
                "127.0.0.1:8080:80",
                "3000-3002:4000-4002/tcp",
                {"target": "90", "published": 9},
                80,
                "[::1]:7:7",
            ],
            "ulimits": {"nofile": {"soft": 10, "hard": 20}, "memlock": -1},
            "shm_size": "0.25gb",
            "stop_grace_period": "1m30s",
            "tmpfs": ["/run:rw,size=64m,mode=1777", "/tmp"],
            "mem_limit": 0,
            "pids_limit": -1,
        },
    )
    assert inspection.blueprint, inspection.problems
    web = inspection.blueprint.services[0]
    assert web.ports == (80, 4000, 4001, 4002, 90, 7)
    assert web.ulimits == {"nofile": (10, 20), "memlock": (-1, -1)}
    assert (web.shm_mb, web.stop_seconds, web.tmpfs) == (256, 90, {"/run": 64, "/tmp": 16})
    assert (web.memory_mb, web.pids) == (512, 128)


def test_root_needs_the_operators_consent(tmp_path: Path, settings: LazySettings) -> None:
    chosen = {"sandbox": {"root": ["web"]}}
    service = {"user": "root", "cap_add": ["CHOWN", "SETUID"]}
    (problem,) = inspect_service(tmp_path, service, **chosen).problems
    assert problem.key == "x-sandbox.root"
    assert "SANDBOX_ROOT_SERVICES" in problem.remedy
    settings.SANDBOX_ROOT_SERVICES = True
    chosen = {"sandbox": {"root": ["web"]}}
    inspection = inspect_service(tmp_path, service, **chosen)
    assert inspection.blueprint, inspection.problems
    web, recipe = inspection.blueprint.services[0], inspection.blueprint.recipes["web"]
    assert (web.root, web.user, recipe.root, recipe.user) == (True, "0", True, "0")


def test_a_service_without_a_health_check_is_healthy_once_it_runs(tmp_path: Path) -> None:
    depends = {"depends_on": {"db": {"condition": "service_healthy"}}}
    inspection = inspect_service(tmp_path, depends, services={"db": {"image": "pg"}})
    assert inspection.blueprint
    (note,) = inspection.notes
    assert (note.key, "once it runs" in note.message) == ("services.web.depends_on.db", True)


def test_a_build_is_described_in_full(tmp_path: Path) -> None:
    (tmp_path / "stack" / "app").mkdir(parents=True)
    inspection = inspect_service(
        tmp_path,
        {
            "build": {
                "context": "app",
                "dockerfile_inline": "FROM scratch",
                "args": ["A=1", "B", "C"],
                "target": "final",
                "tags": ["x"],
            },
            "image": "acme/web",
            "pull_policy": "always",
        },
        sandbox={"variables": {"B": "b"}},
    )
    assert inspection.blueprint, inspection.problems
    recipe = inspection.blueprint.recipes["web"]
    assert recipe.build
    assert recipe.build.context == tmp_path / "stack" / "app"
    assert recipe.build.dockerfile_inline == "FROM scratch"
    assert (recipe.build.args, recipe.build.target) == ({"A": "1", "B": "b"}, "final")
    assert (recipe.image, recipe.pull_always) == ("acme/web", True)


@pytest.mark.parametrize(
    ("fixed", "at_most", "shares"),
    [
        ({}, {"a": None, "b": None}, {"a": 50, "b": 50}),
        ({"a": 80}, {"b": None, "c": None}, {"a": 80, "b": 10, "c": 10}),
        ({}, {"a": 10, "b": None, "c": 400}, {"a": 10, "b": 45, "c": 45}),
        ({"a": 10}, {"b": 20}, {"a": 10, "b": 20}),
    ],
)
def test_what_fixed_limits_leave_is_shared(
    fixed: dict[str, float], at_most: dict[str, float | None], shares: dict[str, float]
) -> None:
    assert share(fixed, at_most, 100) == shares


def test_the_section_names_the_user_of_a_service(tmp_path: Path) -> None:
    chosen = {"sandbox": {"users": {"web": 1000}}}
    inspection = inspect_service(tmp_path, {"user": "root"}, **chosen)
    assert inspection.blueprint, inspection.problems
    web, recipe = inspection.blueprint.services[0], inspection.blueprint.recipes["web"]
    assert (web.user, recipe.user) == ("1000", "1000")
    (problem,) = inspect_service(tmp_path, {}, sandbox={"users": {"web": "root"}}).problems
    assert problem.message == "Services don't run as root."


def test_an_invalid_user_of_the_section_is_reported_once(tmp_path: Path) -> None:
    users = {"sandbox": {"users": {"web": "x y"}}}
    (problem,) = inspect_service(tmp_path, {"user": "root"}, **users).problems
    assert (problem.key, problem.message) == ("x-sandbox.users.web", "Invalid user.")
