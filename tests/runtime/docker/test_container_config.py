"""Configuration of a container, as shown by the engine and inside the container."""

from __future__ import annotations

import io

import pytest

from sandboxes.runtime import EngineRefused, SandboxSpec
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    SharedSandbox,
    ignore_step,
    with_service,
)

pytestmark = pytest.mark.engine


def test_containers_have_the_configured_limits(
    docker_sandbox: SharedSandbox[DockerHarness],
) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    host = harness.inspect(spec, "web")["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"][0] == "no-new-privileges"
    assert host["Privileged"] is False
    assert host["Init"] is True
    assert host["ReadonlyRootfs"] is True
    assert host["Memory"] == host["MemorySwap"] == 48 * 2**20
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 24
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["LogConfig"]["Config"] == {"max-size": "2m", "max-file": "2"}
    limits = {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]}
    assert limits == {"nofile": 4096, "fsize": 64 * 2**20, "core": 0}
    assert not host["Binds"]


def test_a_service_has_its_names_and_both_values_of_its_limits(
    docker_harness: DockerHarness,
) -> None:
    spec = docker_harness.spec()
    # Not the limit of open files: runc sometimes raises its soft limit for commands.
    limits = {"memlock": (64 * 1024, 128 * 1024)}
    spec = with_service(spec, "store", hostname="db.internal", ulimits=limits)
    spec = with_service(spec, "web", aliases=["shop", "shop.local"])
    docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    execute = docker_harness.runtime.execute
    shown = "cat /proc/sys/kernel/hostname; ulimit -Sl; ulimit -Hl"
    assert execute(spec.id, "store", ["sh", "-c", shown], 5)[1].split() == [
        *("db.internal", "64", "128")
    ]
    assert all(docker_harness.reaches(spec, name, 8080) for name in ("web", "shop", "shop.local"))
    docker_harness.client.disconnect_container_from_network(
        f"{spec.id}-web-1", f"{spec.id}_default"
    )
    docker_harness.runtime.repair(spec, ignore_step, TIME_LIMIT)
    assert docker_harness.reaches(spec, "shop.local", 8080)


def test_a_service_gets_its_own_time_to_stop(docker_harness: DockerHarness) -> None:
    spec = docker_harness.spec()
    save = "trap 'sleep 6; echo saved; exit' TERM; while :; do sleep 0.1; done"
    spec = with_service(spec, "store", command=["sh", "-c", save], stop_seconds=12)
    docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    previous = docker_harness.inspect(spec, "store")["Id"]
    printed: list[str] = []

    def read_log(step: str) -> None:
        if step == "ready" and not printed:
            printed.append(docker_harness.client.logs(previous).decode())

    docker_harness.runtime.recreate(spec, read_log, TIME_LIMIT)
    assert printed == ["saved\n"]


def cpus_in_force(harness: DockerHarness, spec: SandboxSpec, service: str) -> float:
    """Return the CPUs that the kernel grants the service, with either version of cgroups."""
    v1, v2 = "/sys/fs/cgroup/cpu/cpu.cfs_%s_us", "/sys/fs/cgroup/cpu.max"
    read = f"cat {v2} || cat {v1 % 'quota'} {v1 % 'period'}"
    _, output = harness.runtime.execute(spec.id, service, ["sh", "-c", f"({read}) 2>/dev/null"], 10)
    quota, period = map(int, output.split())
    return quota / period


def test_extra_cpu_is_granted_until_the_sandbox_is_ready(
    docker_harness: DockerHarness,
) -> None:
    spec = docker_harness.spec()
    cpus: list[float] = []

    def look(step: str) -> None:
        if step == "ready" and not cpus:
            cpus.extend(cpus_in_force(docker_harness, spec, name) for name in ("web", "store"))

    docker_harness.runtime.create(spec, look, TIME_LIMIT)
    assert cpus == [1.0, 1.0]
    for service in spec.services:
        assert cpus_in_force(docker_harness, spec, service.name) == service.cpus
        host = docker_harness.inspect(spec, service.name)["HostConfig"]
        assert host["Memory"] == host["MemorySwap"] == service.memory_mb * 2**20
        assert host["PidsLimit"] == service.pids


def test_extra_cpu_granted_by_a_killed_worker_is_revoked_by_the_next(
    docker_harness: DockerHarness,
) -> None:
    spec = docker_harness.spec()

    def die(step: str) -> None:
        if step == "ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        docker_harness.runtime.create(spec, die, TIME_LIMIT)
    assert cpus_in_force(docker_harness, spec, "web") == 1.0
    for _ in range(2):
        docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
        assert cpus_in_force(docker_harness, spec, "web") == 0.5


def test_containers_have_no_privileges(docker_sandbox: SharedSandbox[DockerHarness]) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    _, text = harness.runtime.execute(spec.id, "web", ["cat", "/proc/1/status"], 10)
    status = dict(line.split(":", 1) for line in text.splitlines())
    assert status["Uid"].split() == ["65534"] * 4
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_with_a_read_only_root_only_tmpfs_is_writable(
    docker_sandbox: SharedSandbox[DockerHarness],
) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec

    def write(path: str, megabytes: int) -> int:
        command = ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={megabytes}"]
        return harness.runtime.execute(spec.id, "web", command, 10)[0]

    assert write("/home/x", 1) != 0
    assert write("/tmp/x", 1) == 0
    assert write("/tmp/x", 9) != 0


@pytest.mark.parametrize(
    ("instruction", "why"), [("USER root", "runs as root"), ("VOLUME /home", "declares volumes")]
)
def test_an_image_that_weakens_the_configuration_is_rejected(
    docker_harness: DockerHarness, instruction: str, why: str
) -> None:
    file = io.BytesIO(f"FROM {docker_harness.image}\n{instruction}\n".encode())
    tag = f"sandboxportal-tests/undone:{docker_harness.instance}"
    list(docker_harness.client.build(fileobj=file, tag=tag, rm=True))
    spec = with_service(docker_harness.spec(), "store", image=tag, user="")
    try:
        with pytest.raises(EngineRefused, match=why):
            docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    finally:
        docker_harness.client.remove_image(tag, force=True)


def test_a_file_cannot_exceed_the_disk_limit(docker_sandbox: SharedSandbox[DockerHarness]) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    grow = ["dd", "if=/dev/zero", "of=/home/x", "bs=1M", "count=80"]
    code, _ = harness.runtime.execute(spec.id, "store", grow, 20)
    size = harness.runtime.execute(spec.id, "store", ["sh", "-c", "wc -c < /home/x"], 5)[1]
    assert code != 0
    assert 0 < int(size) <= 64 * 2**20


def test_a_service_that_runs_out_of_memory_is_reported(docker_harness: DockerHarness) -> None:
    # `tail` keeps an unterminated line in memory.
    eat = ["sh", "-c", "until [ -s /tmp/exit ]; do sleep 0.1; done; tail /dev/zero"]
    spec = with_service(docker_harness.spec(), "store", command=eat)
    docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    docker_harness.stop_service(spec, "store", 1)
    store = docker_harness.runtime.observe()[spec.id].services["store"]
    assert store.out_of_memory
    assert store.exit_code == 137


def test_the_number_of_processes_is_limited(docker_sandbox: SharedSandbox[DockerHarness]) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    # The last test of the shared sandbox: until the processes end, no other can start there.
    many = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo all"
    _, output = harness.runtime.execute(spec.id, "store", ["sh", "-c", many], 20)
    assert "can't fork" in output
    assert harness.runtime.observe()[spec.id].alive
