"""An engine that hangs or loses a reply, and a worker that is killed."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sandboxes.runtime import (
    EngineUnreachable,
)
from tests.runtimes import TIME_LIMIT, DockerBench, quiet, until

pytestmark = pytest.mark.engine

ENGINE_SOCKET = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or "/var/run/docker.sock"


class Relay(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Stands between runtime and engine, and cuts the connection instead of the answer to a request
    that has `cut` in it: the engine acted, and nobody heard of it."""

    daemon_threads = True

    def __init__(self, path: Path, cut: bytes) -> None:
        super().__init__(str(path), RelayedConnection)
        self.cut: bytes | None = cut


class RelayedConnection(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(ENGINE_SOCKET)
            threading.Thread(target=self.answers, args=[engine], daemon=True).start()
            with suppress(OSError):
                while asked := self.request.recv(65536):
                    if self.server.cut and self.server.cut in asked:
                        self.mute, self.server.cut = True, None
                    engine.sendall(asked)

    mute = False

    def answers(self, engine: socket.socket) -> None:
        with suppress(OSError):
            while answer := engine.recv(65536):
                if self.mute:
                    break
                self.request.sendall(answer)
            self.request.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "request_line", [b"/networks/create", b"/containers/create", b"/start", b"/update"]
)
def test_a_reply_that_was_lost_after_the_engine_acted_is_made_up_for(
    docker_bench: DockerBench, tmp_path: Path, request_line: bytes
) -> None:
    spec, path = docker_bench.spec(), tmp_path / "engine.sock"
    with Relay(path, cut=request_line) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        runtime = docker_bench.make(engine_url=f"unix://{path}")
        with pytest.raises(EngineUnreachable):
            runtime.create(spec, quiet, TIME_LIMIT)
        assert runtime.create(spec, quiet, TIME_LIMIT).alive
        relay.shutdown()
    docker_bench.runtime.destroy(spec.id)
    assert docker_bench.left() == []


def test_an_engine_that_hangs_is_given_up_in_time(
    docker_bench: DockerBench, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "engine.sock"))
        deaf.listen()
        runtime = docker_bench.make(engine_url=f"unix://{tmp_path}/engine.sock", timeout=0.5)
        began = time.monotonic()
        with pytest.raises(EngineUnreachable):
            runtime.observe()
        assert time.monotonic() - began < TIME_LIMIT


CREATE = """
import sys
from tests.runtimes import DockerBench, specification, quiet
bench = DockerBench(sys.argv[2]); bench.instance = sys.argv[1]; bench.runtime = bench.make()
bench.runtime.create(specification(sys.argv[2], id=sys.argv[3]), quiet, 30)
"""


@pytest.mark.parametrize("milliseconds", [30, 90, 150, 250, 400, 600])
def test_a_worker_killed_at_any_point_leaves_nothing_that_is_not_found(
    docker_bench: DockerBench, milliseconds: int
) -> None:
    spec = docker_bench.spec()
    arguments = [sys.executable, "-c", CREATE, docker_bench.instance, docker_bench.image, spec.id]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as worker:
        until(lambda: bool(docker_bench.left()) or worker.poll() is not None)
        time.sleep(milliseconds / 1000)
        worker.send_signal(signal.SIGKILL)
    time.sleep(1)  # What the engine was asked last, it may still be doing.
    docker_bench.runtime.destroy(spec.id)
    assert docker_bench.left() == []


def test_containers_that_lost_their_network_are_made_anew(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create()
    for service in ("web", "store"):
        docker_bench.client.stop(f"{spec.id}-{service}-1", timeout=0)
    docker_bench.client.remove_network(f"{spec.id}_default")
    assert docker_bench.runtime.create(spec, quiet, TIME_LIMIT).alive
