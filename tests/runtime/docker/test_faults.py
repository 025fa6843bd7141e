"""Engines that hang or lose responses, and workers that are killed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandboxes.runtime import (
    EngineUnreachable,
)
from tests.fakes.docker_proxy import Call, Fault, run_docker_proxy
from tests.harness.runtimes import TIME_LIMIT, DockerHarness, ignore_step
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    "request_line", ["/networks/create", "/containers/create", "/start", "/update"]
)
def test_an_operation_recovers_from_a_lost_response(
    docker_harness: DockerHarness, tmp_path: Path, request_line: str
) -> None:
    spec, path, lost = docker_harness.spec(), tmp_path / "engine.sock", []

    def lose_the_first(call: Call) -> Fault | None:
        if lost or not call.request.endswith(request_line):
            return None
        lost.append(call)
        return Fault.LOSE

    with run_docker_proxy(path) as proxy:
        proxy.fault_for = lose_the_first
        runtime = docker_harness.new_runtime(engine_url=f"unix://{path}")
        with pytest.raises(EngineUnreachable):
            runtime.create(spec, ignore_step, TIME_LIMIT)
        assert runtime.create(spec, ignore_step, TIME_LIMIT).alive
    docker_harness.runtime.destroy(spec.id)
    assert docker_harness.remaining() == []


def test_a_hanging_engine_times_out(docker_harness: DockerHarness, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "engine.sock"))
        deaf.listen()
        runtime = docker_harness.new_runtime(
            engine_url=f"unix://{tmp_path}/engine.sock", timeout=0.5
        )
        began = time.monotonic()
        with pytest.raises(EngineUnreachable):
            runtime.observe()
        assert time.monotonic() - began < TIME_LIMIT


def test_a_removal_waits_for_the_networks_that_others_remove(
    docker_harness: DockerHarness, tmp_path: Path
) -> None:
    """The engine removes one at a time, so calls of parallel sweeps take longer than others."""
    sandbox, path, timeout = docker_harness.spec().id, tmp_path / "engine.sock", 1.5
    docker_harness.add_orphan(sandbox)

    def wait_in_line(call: Call) -> None:
        if call.request.startswith("DELETE") and "/networks/" in call.request:
            time.sleep(timeout + 0.5)

    with run_docker_proxy(path) as proxy:
        proxy.fault_for = wait_in_line
        docker_harness.new_runtime(engine_url=f"unix://{path}", timeout=timeout).destroy(sandbox)
    assert docker_harness.remaining() == []


@pytest.mark.parametrize("request_line", ["/networks/create", "/containers/create"])
def test_the_next_attempt_reuses_what_the_engine_created_too_late(
    docker_harness: DockerHarness, tmp_path: Path, request_line: str
) -> None:
    """Let the engine process a request after its caller's timeout, during the next attempt."""
    spec, path = docker_harness.spec(), tmp_path / "engine.sock"
    with run_docker_proxy(path) as proxy:

        def hang_at_the_first(call: Call) -> None:
            if call.request.endswith(request_line):
                proxy.pause()

        proxy.fault_for = hang_at_the_first
        runtime = docker_harness.new_runtime(engine_url=f"unix://{path}", timeout=1)
        with pytest.raises(EngineUnreachable):
            runtime.create(spec, ignore_step, TIME_LIMIT)
        proxy.fault_for = lambda _: None
        proxy.resume()
        assert docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT).alive
        held = docker_harness.remaining()
        assert len(held) == 3, "a network and two containers"
    docker_harness.runtime.destroy(spec.id)
    assert docker_harness.remaining() == []


CREATE = """
import sys
from tests.fakes.docker_proxy import Call, Fault, run_docker_proxy
from tests.harness.runtimes import DockerHarness, new_spec, ignore_step
harness = DockerHarness(sys.argv[2])
harness.instance = sys.argv[1]; harness.runtime = harness.new_runtime()
harness.runtime.create(new_spec(sys.argv[2], id=sys.argv[3]), ignore_step, 30)
"""


@pytest.mark.parametrize(
    "milliseconds",
    [30, 150, 400, *(pytest.param(one, marks=pytest.mark.exhaustive) for one in (90, 250, 600))],
)
def test_a_worker_killed_at_any_point_leaves_only_labelled_objects(
    docker_harness: DockerHarness, milliseconds: int
) -> None:
    spec = docker_harness.spec()
    arguments = [
        sys.executable,
        "-c",
        CREATE,
        docker_harness.instance,
        docker_harness.image,
        spec.id,
    ]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as worker:
        wait_for(
            lambda: docker_harness.remaining() or worker.poll() is not None,
            "the creation has begun",
            pause=0.05,
        )
        time.sleep(milliseconds / 1000)
        worker.send_signal(signal.SIGKILL)
    time.sleep(1)  # The engine may still be processing the last request.

    def is_removed() -> bool:
        docker_harness.runtime.destroy(spec.id)
        return docker_harness.remaining() == []

    wait_for(is_removed, "nothing is left", 30)


def test_containers_that_lost_their_network_are_recreated(docker_harness: DockerHarness) -> None:
    spec, _ = docker_harness.create()
    for service in ("web", "store"):
        docker_harness.client.stop(f"{spec.id}-{service}-1", timeout=0)
    docker_harness.client.remove_network(f"{spec.id}_default")
    assert docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT).alive
