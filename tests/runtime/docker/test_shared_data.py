"""Shared volumes, files and services with root, on a real engine."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.runtime import EngineRefused, File, NotReady, SandboxSpec
from sandboxes.runtime.docker.measurements.writable_layers import WritableLayers
from sandboxes.runtime.docker.volumes import SharedVolumes
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    ignore_step,
    shorten_restoration,
    with_service,
)
from tests.helpers.wait import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def create(harness: DockerHarness, spec: SandboxSpec) -> SandboxSpec:
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    return spec


def shell(harness: DockerHarness, spec: SandboxSpec, service: str, command: str) -> str:
    code, output = harness.runtime.execute(spec.id, service, ["sh", "-c", command], 10)
    return output.strip() if code == 0 else f"failed: {output.strip()}"


def sharing(harness: DockerHarness, **changes: Any) -> SandboxSpec:
    """Return a spec whose services share a volume, at a directory of the image and at another."""
    spec = with_service(harness.spec(), "store", volumes={"/www": "site"})
    return with_service(spec, "web", volumes={"/www": "site"}, **changes)


def volumes(harness: DockerHarness, spec: SandboxSpec) -> list[dict[str, Any]]:
    filters = {"label": f"sandboxportal.sandbox={spec.id}"}
    return list(harness.client.volumes(filters=filters)["Volumes"] or ())


def test_services_share_a_volume_that_begins_with_the_images_files(
    docker_harness: DockerHarness,
) -> None:
    spec = create(docker_harness, sharing(docker_harness, user="1234"))
    assert shell(docker_harness, spec, "web", "cat /www/ok") == "ok"
    shell(docker_harness, spec, "store", "echo from-store > /www/note")
    assert shell(docker_harness, spec, "web", "cat /www/note") == "from-store"
    assert shell(docker_harness, spec, "web", "echo more > /www/mine; cat /www/mine") == "more"


def test_a_shared_volume_is_measured_and_removed_with_its_sandbox(
    docker_harness: DockerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = create(docker_harness, sharing(docker_harness))
    fill = "dd if=/dev/zero of=/www/fill bs=1M count=20 2>/dev/null"
    shell(docker_harness, spec, "store", fill)
    (seen,) = docker_harness.runtime.observe(sizes=True).values()
    assert 19 < (seen.disk_mb or 0) < 25
    # As for an engine on another machine.
    monkeypatch.setattr(WritableLayers, "are_readable", False)
    (seen,) = docker_harness.runtime.observe(sizes=True).values()
    assert 19 < (seen.disk_mb or 0) < 25
    docker_harness.runtime.destroy(spec.id)
    assert docker_harness.remaining() == []


def test_shared_volumes_are_new_after_a_recreation(docker_harness: DockerHarness) -> None:
    spec = create(docker_harness, sharing(docker_harness))
    for _ in range(3):
        shell(docker_harness, spec, "store", "echo changed > /www/ok; echo > /www/more")
        docker_harness.runtime.recreate(spec, ignore_step, TIME_LIMIT)
        assert shell(docker_harness, spec, "web", "cat /www/ok; ls /www || echo /www/*") == "ok\nok"
        assert len(volumes(docker_harness, spec)) == 1


def test_shared_volumes_come_back_if_the_recreation_fails(
    docker_harness: DockerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_restoration(monkeypatch)
    spec = create(docker_harness, sharing(docker_harness))
    shell(docker_harness, spec, "store", "echo kept > /www/note")
    broken = with_service(spec, "store", command=["sh", "-c", "echo lost > /www/note; exit 3"])
    with pytest.raises(NotReady):
        docker_harness.runtime.recreate(broken, ignore_step, TIME_LIMIT)
    assert shell(docker_harness, spec, "web", "cat /www/note") == "kept"
    assert len(volumes(docker_harness, spec)) == 1


class Killed(BaseException):
    """Simulates a worker's death."""


@pytest.mark.parametrize("when", ["containers", "ready", "removal"])
def test_a_killed_recreation_leaves_no_data_in_shared_volumes(
    docker_harness: DockerHarness, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(step: str) -> None:
        if step == when:
            raise Killed

    calls = 0
    real = SharedVolumes.remove_unused

    def remove_unused(self: SharedVolumes, sandbox_id: str) -> None:
        nonlocal calls
        calls += 1
        if when == "removal" and calls == 2:
            raise Killed
        real(self, sandbox_id)

    spec = create(docker_harness, sharing(docker_harness))
    shell(docker_harness, spec, "store", "echo old > /www/note")
    with monkeypatch.context() as patch:
        patch.setattr(SharedVolumes, "remove_unused", remove_unused)
        with pytest.raises(Killed):
            docker_harness.runtime.recreate(spec, die, TIME_LIMIT)
    docker_harness.runtime.recreate(spec, ignore_step, TIME_LIMIT)
    assert "can't open" in shell(docker_harness, spec, "web", "cat /www/note")
    assert len(volumes(docker_harness, spec)) == 1


def test_a_foreign_volume_of_that_name_is_not_used(docker_harness: DockerHarness) -> None:
    spec = sharing(docker_harness)
    name = f"{spec.id}_volume_site"
    docker_harness.client.create_volume(name)
    try:
        with pytest.raises(EngineRefused, match=r"another program|the label of this instance"):
            create(docker_harness, spec)
    finally:
        docker_harness.runtime.destroy(spec.id)
        docker_harness.client.remove_volume(name)


def test_files_exist_before_a_service_starts(docker_harness: DockerHarness) -> None:
    config = {"/etc/app/site.conf": File("name=${x}\n"), "/run/key": File("k", 0o440)}
    read = "cat /etc/app/site.conf; echo ready; exec sleep 60"
    spec = with_service(docker_harness.spec(), "store", files=config, command=["sh", "-c", read])
    create(docker_harness, spec)
    assert docker_harness.runtime.logs(spec.id, "store", 5) == "name=${x}\nready\n"
    assert "Permission denied" in shell(docker_harness, spec, "store", "cat /run/key")
    assert "Permission denied" in shell(docker_harness, spec, "store", "echo > /etc/app/site.conf")


@pytest.mark.parametrize("read_only", [True, False])
def test_secrets_are_kept_in_memory_only(docker_harness: DockerHarness, read_only: bool) -> None:
    token = 'it\'s "a" $ecret\n\\n' + secrets.token_hex(8)
    spec = with_service(
        docker_harness.spec(),
        "web",
        files={"/run/secrets/token": File(token), "/run/secrets/key": File("k", 0o400)},
        read_only=read_only,
    )
    create(docker_harness, spec)
    assert shell(docker_harness, spec, "web", "cat /run/secrets/token") == token
    listed = shell(docker_harness, spec, "web", "cat /proc/mounts")
    assert "tmpfs /run/secrets tmpfs" in listed
    container = docker_harness.inspect(spec, "web")
    written = Path(container["GraphDriver"]["Data"]["UpperDir"])
    found = [path for path in written.rglob("*") if path.is_file() and token in path.read_text()]
    assert not found
    # They are there again after a restart.
    docker_harness.client.restart(container["Id"], timeout=1)
    assert shell(docker_harness, spec, "web", "cat /run/secrets/token") == token


def test_the_images_own_command_follows_the_secrets(docker_harness: DockerHarness) -> None:
    name = "sandboxportal-tests/with-command:" + secrets.token_hex(4)
    client = docker_harness.client
    changes = ["USER 65534", 'ENTRYPOINT ["sh", "-c"]', 'CMD ["cat /run/secrets/token"]']
    source = client.create_container(docker_harness.image, ["true"])["Id"]
    try:
        client.commit(source, *name.split(":"), changes=changes)
        spec = docker_harness.spec(ready=[])
        token = {"/run/secrets/token": File("from memory")}
        spec = with_service(spec, "store", image=name, command=[], files=token, one_shot=True)
        create(docker_harness, spec)
        # The engine stores the last lines shortly after the service has ended.
        wait_for(
            lambda: docker_harness.runtime.logs(spec.id, "store", 5) == "from memory",
            "the service printed its secret",
            10,
        )
    finally:
        docker_harness.runtime.destroy(spec.id)
        client.remove_container(source)
        client.remove_image(name)


def rooted(harness: DockerHarness) -> SandboxSpec:
    spec = with_service(harness.spec(), "store", root=True, user="0", read_only=False)
    return replace(spec, ready=[])


def test_a_service_runs_as_root_only_where_the_operator_allows_it(
    docker_harness: DockerHarness,
) -> None:
    with pytest.raises(EngineRefused, match="SANDBOX_ROOT_SERVICES"):
        create(docker_harness, rooted(docker_harness))


def test_root_has_few_capabilities_and_gains_none(docker_harness: DockerHarness) -> None:
    docker_harness.runtime = docker_harness.new_runtime(root_services=True)
    spec = create(docker_harness, rooted(docker_harness))
    status = shell(docker_harness, spec, "store", "cat /proc/self/status")
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    # CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID and SETUID are the bits 0, 1, 3, 5, 6 and 7.
    assert {int(lines[key], 16) for key in ("CapPrm", "CapEff", "CapBnd")} == {0b11101011}
    assert lines["NoNewPrivs"] == "1"
    assert docker_harness.inspect(spec, "web")["HostConfig"]["CapAdd"] in (None, [])
