"""The Docker runtime on a real engine: readiness, commands, activity, remote engines."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.utils import timezone

from sandboxes.runtime import (
    EngineRefused,
    HttpCheck,
    LineCount,
    NotReady,
    TcpCheck,
)
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.measurements import kernel_counters
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    SharedSandbox,
    create_shared_sandbox,
    fetch_page,
    ignore_step,
    running_docker_harness,
    with_service,
)
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", autouse=True)
def unused_sandbox(tiny_image: str) -> Iterator[SharedSandbox[DockerHarness]]:
    """Create a sandbox before the first test, so that the one that waits for it waits less."""
    with running_docker_harness(tiny_image) as harness:
        yield create_shared_sandbox(harness)


# Readiness, commands, errors.


def test_a_sandbox_that_never_responds_times_out(
    docker_harness: DockerHarness,
) -> None:
    never = [HttpCheck("web", 8080, "/never")]
    with pytest.raises(NotReady, match="GET /never") as caught:
        docker_harness.runtime.create(docker_harness.spec(ready=never), ignore_step, 2)
    assert caught.value.service == "web"


def test_the_step_is_reported_again_while_waiting(docker_harness: DockerHarness) -> None:
    steps: list[str] = []
    never = [HttpCheck("web", 8080, "/never")]
    with pytest.raises(NotReady):
        docker_harness.runtime.create(docker_harness.spec(ready=never), steps.append, 4)
    assert steps.count("ready") >= 3


def test_a_service_that_listens_before_it_is_ready_gets_one_request(
    docker_harness: DockerHarness,
) -> None:
    answer = r"sleep 1; echo -e 'HTTP/1.0 200 OK\r\n\r'"
    once = ["sh", "-c", f'nc -l -p 8080 -e sh -c "{answer}"; sleep 60']
    spec = with_service(docker_harness.spec(), "web", command=once)
    assert docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT).alive


def test_a_port_that_only_the_engine_has_opened_is_not_ready(docker_harness: DockerHarness) -> None:
    late = ["sh", "-c", "sleep 1.5; exec httpd -f -p 8080 -h /www"]
    spec = with_service(docker_harness.spec(ready=[TcpCheck("web", 8080)]), "web", command=late)
    fetch_page(docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT))


def test_a_crash_is_detected_while_waiting_for_another_service(
    docker_harness: DockerHarness,
) -> None:
    silent = with_service(
        docker_harness.spec(), "web", command=["nc", "-l", "-p", "8080", "-e", "sleep", "60"]
    )
    spec = with_service(silent, "store", command=["sh", "-c", "sleep 1; exit 3"])
    began = time.monotonic()
    with pytest.raises(NotReady) as caught:
        docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert (caught.value.service, caught.value.exit_code) == ("store", 3)
    assert time.monotonic() - began < TIME_LIMIT / 3


def test_a_command_times_out(docker_sandbox: SharedSandbox[DockerHarness]) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    for command in (["sleep", "60"], ["sh", "-c", "while :; do echo x; done"]):
        began = time.monotonic()
        with pytest.raises(EngineRefused, match="within 1 second"):
            harness.runtime.execute(spec.id, "web", command, 1)
        assert time.monotonic() - began < TIME_LIMIT


def test_a_missing_command_is_reported_with_its_service(
    docker_harness: DockerHarness,
) -> None:
    spec = docker_harness.spec(ready=[HttpCheck("web", 8080, "/never")])
    spec = with_service(spec, "store", command=["no-such-program"])
    with pytest.raises(NotReady) as caught:
        docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert (caught.value.service, caught.value.exit_code) == ("store", 127)
    assert "no-such-program" in docker_harness.runtime.logs(spec.id, "store", 5)


def test_an_unknown_user_is_reported_with_its_service(docker_harness: DockerHarness) -> None:
    spec = with_service(docker_harness.spec(), "store", user="ghost")
    with pytest.raises(EngineRefused, match=r"service store: .*ghost"):
        docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)


def test_quoted_engine_errors_have_no_secrets(docker_harness: DockerHarness) -> None:
    secret = "s3cret-in-a-variable-with-no-name"
    spec = with_service(docker_harness.spec(), "store", environment={"": secret})
    # The socket proxy refuses it without a quotation.
    refused = pytest.raises(EngineRefused, match=r"invalid environment variable: =•••|Env: must")
    with refused as caught:
        docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert secret not in str(caught.value)


def test_an_invalid_sandbox_id_is_rejected(docker_harness: DockerHarness) -> None:
    with pytest.raises(EngineRefused, match="lower-case"):
        docker_harness.runtime.create(docker_harness.spec(id="../Other"), ignore_step, TIME_LIMIT)


# Activity.


def test_traffic_among_services_is_not_activity(docker_harness: DockerHarness) -> None:
    serve = ["httpd", "-f", "-p", "9000", "-h", "/www"]
    spec = with_service(docker_harness.spec(), "store", command=serve)
    facts = docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    for _ in range(10):
        assert docker_harness.reaches(spec, "store", 9000)
    moved = (docker_harness.runtime.observe()[spec.id].traffic_bytes or 0) - (
        facts.traffic_bytes or 0
    )
    assert 0 <= moved < 256


def test_one_way_traffic_is_not_activity() -> None:
    used = kernel_counters.NetworkBytes(received=4000, sent=5000)
    announced = kernel_counters.NetworkBytes(received=4400, sent=5000)
    deserted = kernel_counters.NetworkBytes(received=4000, sent=500_000)
    assert announced.activity_bytes == used.activity_bytes == 5000
    assert deserted.activity_bytes == 8000


# Remote engines.


def test_without_kernel_counters_the_engines_statistics_are_used(
    docker_sandbox: SharedSandbox[DockerHarness],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(kernel_counters, "INTERFACES", tmp_path)
    monkeypatch.setattr(kernel_counters, "CGROUPS", tmp_path)
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    before = harness.runtime.observe()[spec.id].traffic_bytes
    harness.send_request(docker_sandbox.facts)
    after = harness.runtime.observe()[spec.id].traffic_bytes
    assert before is not None
    assert after is not None
    assert after - before > 256
    assert 0 < harness.runtime.usage([spec.id])[spec.id].memory_mb < 96


def test_kernel_counters_match_the_engines_statistics(
    docker_sandbox: SharedSandbox[DockerHarness],
) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    container_id = harness.inspect(spec, "web")["Id"]
    stats = harness.client.stats(container_id, stream=False)
    by_engine, by_kernel = (
        kernel_counters.stats_usage(stats),
        kernel_counters.cgroup_usage(container_id),
    )
    assert by_kernel is not None
    assert by_kernel.memory_mb == pytest.approx(by_engine.memory_mb, abs=2)
    assert by_kernel.cpu_seconds == pytest.approx(by_engine.cpu_seconds, abs=0.5)


def test_every_process_has_its_own_client() -> None:
    engine = EngineClient("", timeout=5)
    mine = engine.client()
    assert engine.client() is mine
    pid = os.fork()
    if pid == 0:
        os._exit(0 if engine.client() is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_writable_services_share_the_disk_where_a_limit_is_enforced(
    docker_harness: DockerHarness,
) -> None:
    disk = docker_harness.runtime._disk_quota
    disk._is_enforced, disk._driver = True, "overlay2"
    spec = replace(docker_harness.spec(), disk_mb=100)
    web, store = spec.services
    assert disk.options(spec, store) == {"size": "100M"}
    assert disk.options(spec, web) == {}
    disk._driver = "btrfs"
    assert disk.options(spec, store) == {"size": "101M"}, "the image's whole MB are on top"


@pytest.mark.root
def test_small_files_and_directories_are_measured_as_they_take_space(
    docker_sandbox: SharedSandbox[DockerHarness],
) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    nest = "i=0; while [ $i -lt 1500 ]; do mkdir d; echo >f; cd d; i=$((i+1)); done"
    command = ["sh", "-c", f"cd /home; {nest}"]
    assert harness.runtime.execute(spec.id, "store", command, TIME_LIMIT)[0] == 0
    facts = harness.runtime.observe(sizes=True)[spec.id]
    assert facts.files is not None
    assert 3000 <= facts.files < 3100
    assert facts.disk_mb is not None and 11 < facts.disk_mb < 14


def test_of_a_large_log_only_the_end_is_kept_in_memory(docker_harness: DockerHarness) -> None:
    write = "head -c 3000000 /dev/zero; seq 100000; exec sleep 300"
    spec = with_service(docker_harness.spec(), "store", command=["sh", "-c", write])
    runtime = docker_harness.runtime
    runtime.create(spec, ignore_step, TIME_LIMIT)
    wait_for(lambda: "100000" in runtime.logs(spec.id, "store", 1), "it has written its log")
    tracemalloc.start()
    log = runtime.logs(spec.id, "store", 200_000)
    counted = runtime.count_lines({spec.id: LineCount("store", r"\d+")})[spec.id]
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(log) <= 256 * 1024 and log.endswith("99999\n100000\n")
    assert 0 < counted.lines <= 100_000
    assert runtime.count_lines({spec.id: counted})[spec.id].lines == counted.lines
    assert peak < 60_000_000


def test_an_unused_sandbox_has_hardly_any_traffic(
    unused_sandbox: SharedSandbox[DockerHarness],
) -> None:
    # The host announces itself on the new network for a few seconds.
    age = timezone.now() - unused_sandbox.facts.created_at
    time.sleep(max(0.0, 15 - age.total_seconds()))
    (seen,) = unused_sandbox.runtime.observe().values()
    moved = (seen.traffic_bytes or 0) - (unused_sandbox.facts.traffic_bytes or 0)
    assert 0 <= moved < 256
