"""Volumes, files and root behind the socket proxy: what the portal needs works, and no more."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from socket_proxy import archives
from socket_proxy.schema import RequestDenied

from sandboxes.runtime import (
    EngineRefused,
    File,
    HealthCheck,
    HealthyCheck,
    SandboxSpec,
    StartCondition,
)
from sandboxes.runtime.docker.containers.container_config import ContainerConfig, ContainerPlan
from sandboxes.runtime.docker.names import Names
from tests.harness.runtimes import SUBNETS, TIME_LIMIT, ignore_step, with_service
from tests.socket_proxy.generated import HOSTILE_ARCHIVES, portals_archive
from tests.socket_proxy.harness import ProxiedHarness, ask, running_proxy

STARTED, HEALTHY, COMPLETED = StartCondition
OPENED = {"etc/owner", "etc/x"}
"""Archives that are let through, as plain files of root."""


def members(content: bytes) -> list[tuple[str, int, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(one.name, one.mode, one.uid, one.gid) for one in tar]


def test_an_archive_is_written_again_with_files_of_root() -> None:
    given = portals_archive()
    assert members(archives.rebuild(given)) == members(given)


@pytest.mark.parametrize("content", HOSTILE_ARCHIVES)
def test_an_archive_of_anything_but_files_is_denied_or_cleaned(content: bytes) -> None:
    try:
        rebuilt = archives.rebuild(content)
    except RequestDenied:
        return
    for name, mode, user, group in members(rebuilt):
        assert name in OPENED or (name, mode) == ("run/secrets", 0o1777)
        assert (mode & 0o6000, user, group) == (0, 0, 0)


@pytest.fixture
def rooted(tiny_image: str) -> Iterator[ProxiedHarness]:
    """Return a harness behind a proxy whose operator allows services with root."""
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        path = Path(folder) / "engine.sock"
        harness = ProxiedHarness(tiny_image, path)
        values = {"SANDBOX_INSTANCE": harness.instance, "SANDBOX_SUBNETS": str(SUBNETS)}
        with running_proxy(path, **values, SANDBOX_ROOT_SERVICES="true"):
            yield harness
            harness.clear()


def full_spec(harness: ProxiedHarness) -> SandboxSpec:
    """Return a spec with all that a blueprint can ask for, but root."""
    spec = harness.spec(ready=[HealthyCheck("store"), *harness.spec().ready])
    files = {"/etc/app.conf": File("config"), "/run/secrets/key": File("secret")}
    spec = with_service(spec, "store", volumes={"/www": "site"}, files=files, hostname="db.local")
    limits = {"memlock": (32768, 65536), "nofile": (1024, 2048)}
    spec = with_service(
        spec,
        "store",
        ulimits=limits,
        tmpfs={"/scratch": 8},
        healthcheck=HealthCheck(["sh", "-c", "test -e /www/ok"]),
    )
    [web, store] = with_service(
        spec,
        "web",
        volumes={"/www": "site"},
        aliases=["shop.local"],
        depends_on={"migrate": COMPLETED},
    ).services
    migrate = replace(
        store,
        name="migrate",
        command=["sh", "-c", "echo migrated > /www/migrated"],
        one_shot=True,
        healthcheck=None,
        depends_on={"store": HEALTHY},
    )
    return replace(spec, services=[web, migrate, store])


def read(harness: ProxiedHarness, spec: SandboxSpec, path: str) -> str:
    return harness.runtime.execute(spec.id, "store", ["cat", path], 5)[1]


@pytest.mark.engine
@pytest.mark.slow
def test_a_sandbox_with_shared_data_works_through_the_proxy(
    rooted: ProxiedHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooted.runtime = rooted.new_runtime(root_services=True)
    spec = with_service(full_spec(rooted), "store", root=True, user="0:0")
    rooted.runtime.create(spec, ignore_step, TIME_LIMIT)
    for path, content in {"/etc/app.conf": "config", "/run/secrets/key": "secret"}.items():
        assert read(rooted, spec, path) == content
    assert read(rooted, spec, "/www/migrated") == "migrated\n"
    rooted.client.disconnect_container_from_network(f"{spec.id}-web-1", f"{spec.id}_default")
    assert rooted.runtime.repair(spec, ignore_step, TIME_LIMIT).facts.alive
    assert rooted.reaches(spec, "shop.local", 8080)
    # The data of the engine can't be read here, so the proxy is asked for sizes.
    monkeypatch.setattr("sandboxes.runtime.docker.observe.WritableLayers.are_readable", False)
    fill = "dd if=/dev/zero of=/www/fill bs=1M count=12"
    rooted.runtime.execute(spec.id, "store", ["sh", "-c", fill], 10)
    (seen,) = rooted.runtime.observe(sizes=True).values()
    assert (seen.disk_mb or 0) > 11
    rooted.runtime.recreate(spec, ignore_step, TIME_LIMIT)
    assert read(rooted, spec, "/www/ok") == "ok\n"
    (seen,) = rooted.runtime.observe(sizes=True).values()
    assert (seen.disk_mb or 0) < 2
    rooted.runtime.destroy(spec.id)
    assert rooted.remaining() == []


def body(harness: ProxiedHarness, spec: SandboxSpec, *mounts: Any, **host: Any) -> dict[str, Any]:
    """Return the portal's request for a container of the sandbox, with other mounts."""
    service = replace(spec.services[1], name="spare", volumes={}, files={})
    config = ContainerConfig(Names(harness.instance), "127.0.0.1")
    built = config.config(spec, service, {}, ContainerPlan())
    built["HostConfig"] |= {"Mounts": list(mounts)} | host
    return built


def volume(source: str, target: str = "/data") -> dict[str, str]:
    return {"Type": "volume", "Source": source, "Target": target}


@pytest.mark.engine
@pytest.mark.slow
def test_a_container_uses_only_volumes_of_its_own_sandbox(proxied: ProxiedHarness) -> None:
    spec, other = full_spec(proxied), full_spec(proxied)
    for one in (spec, other):
        proxied.runtime.create(one, ignore_step, TIME_LIMIT)
    proxied.runtime.mark_claimed(spec.id, "1")
    client, own = proxied.client, f"{spec.id}_volume_site"
    options = {"type": "none", "o": "bind", "device": "/"}
    names = {"foreign": f"{spec.id}_volume_foreign", "bound": f"{spec.id}_volume_bound"}
    labels = {
        "sandboxportal.instance": proxied.instance,
        "sandboxportal.sandbox": spec.id,
        "sandboxportal.volume": "bound",
    }
    client.create_volume(names["foreign"])
    client.create_volume(names["bound"], driver_opts=options, labels=labels)
    try:
        for name, mount in {
            "another sandbox's": volume(f"{other.id}_volume_site"),
            "a foreign one": volume(names["foreign"]),
            "one with options": volume(names["bound"]),
            "one that doesn't exist": volume(f"{spec.id}_volume_none"),
            "the mark of a claim": volume(f"{spec.id}_claimed"),
            "an anonymous one": volume(""),
            "a directory of the host": volume("/etc"),
            "a bind": volume(own) | {"Type": "bind"},
            "below /proc": volume(own, "/proc/x"),
            "above the root": volume(own, "/../x"),
            "with a driver": volume(own)
            | {"VolumeOptions": {"DriverConfig": {"Name": "local", "Options": options}}},
        }.items():
            status, text = proxied.ask("POST", "/containers/create", body(proxied, spec, mount))
            assert (status, "Denied by" in text) == (403, True), (name, text)
        status, text = proxied.ask("POST", "/containers/create", body(proxied, spec, volume(own)))
        assert status == 201, text
    finally:
        proxied.runtime.destroy(spec.id)
        client.remove_volume(names["foreign"])


@pytest.mark.engine
@pytest.mark.slow
def test_files_are_only_written_before_a_container_starts(proxied: ProxiedHarness) -> None:
    spec, _ = proxied.create()
    content = portals_archive()

    def put(container: str, path: str = "/") -> int:
        target = f"/containers/{container}/archive?path={path}"
        return ask(proxied.path, "PUT", target, content)[0]

    _, created = proxied.ask("POST", "/containers/create", body(proxied, spec))
    assert put(f"{spec.id}-spare-1") == 200, created
    assert put(f"{spec.id}-spare-1", "/etc") == 403
    proxied.client.start(f"{spec.id}-spare-1")
    assert put(f"{spec.id}-spare-1") == 403
    proxied.client.stop(f"{spec.id}-spare-1", timeout=0)
    assert put(f"{spec.id}-spare-1") == 403
    assert put(f"{spec.id}-web-1") == 403


@pytest.mark.engine
@pytest.mark.slow
def test_root_and_capabilities_need_the_operators_setting(
    proxied: ProxiedHarness, rooted: ProxiedHarness
) -> None:
    capabilities = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"]
    runtime = proxied.new_runtime(root_services=True)
    spec = with_service(proxied.spec(), "store", root=True, user="0")
    with pytest.raises(EngineRefused, match="Denied by"):
        runtime.create(spec, ignore_step, TIME_LIMIT)
    spec, _ = rooted.create()
    for name, wanted in {
        "another capability": {"CapAdd": [*capabilities, "NET_RAW"]},
        "all of them": {"CapAdd": ["ALL"]},
        "other words": {"CapAdd": [f"CAP_{one}" for one in capabilities]},
        "not dropped": {"CapAdd": capabilities, "CapDrop": []},
        "new privileges": {"CapAdd": capabilities, "SecurityOpt": []},
    }.items():
        changed = body(rooted, spec, **wanted) | {"User": "0"}
        assert rooted.ask("POST", "/containers/create", changed)[0] == 403, name
    without = body(rooted, spec) | {"User": "0"}
    assert rooted.ask("POST", "/containers/create", without)[0] == 403
