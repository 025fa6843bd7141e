"""The three runtimes, each in a harness that can cause the events and faults of an engine.

Register it with `pytest_plugins = ["tests.harness.runtimes"]`.
"""

from __future__ import annotations

import io
import os
import secrets
import shlex
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import docker
import pytest

from sandboxes.runtime import (
    EngineConnection,
    EngineUnreachable,
    HttpCheck,
    ProcessSpec,
    Runtime,
    SandboxFacts,
    SandboxSpec,
    ServiceSpec,
)
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.docker.containers import repair as docker_repair
from sandboxes.runtime.memory import MemoryRuntime
from sandboxes.runtime.process import process_table
from sandboxes.runtime.process import repair as process_repair
from sandboxes.runtime.process.runtime import ProcessRuntime
from sandboxes.runtime.process.state_dir import StateDir
from sandboxes.runtime.process.templates import TemplateBuild
from tests.harness.busybox_image import import_busybox_image
from tests.harness.ports import reserve_port
from tests.harness.shared_files import creating_shared, share_interpreter
from tests.helpers.wait import wait_for

TIME_LIMIT = 30.0
SUBNETS = IPv4Network("10.214.0.0/20")
SERVE = ("httpd", "-f", "-p", "8080", "-h", "/www")
SAY_AND_WAIT = (
    "until [ -s exit ]; do if [ -s say ]; then mv say said; cat said; fi; sleep 0.1; done;"
    " exit $(cat exit)"
)
"""Writes the contents of the file `say` to the log, and exits with the code in the file `exit`."""
WAIT = ("sh", "-c", f"cd /tmp; {SAY_AND_WAIT}")
WAIT_AT_HOME = ("sh", "-c", SAY_AND_WAIT)
SERVE_PAGE = (
    "python",
    "-c",
    (
        "import os, http.server as s; os.chdir(os.environ['PYTHONPATH'].split(':')[0] + '/www');"
        "s.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), s.SimpleHTTPRequestHandler)"
        ".serve_forever()"
    ),
)


def shorten_restoration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only briefly for previous services; a failing spec's check never succeeds for them."""
    for module in ("docker.containers", "process"):
        name = f"sandboxes.runtime.{module}.recreate.RESTORE_TIMEOUT_SECONDS"
        monkeypatch.setattr(name, 1.0)


def ignore_step(step: str) -> None:
    """Ignore a reported step."""


def new_id() -> str:
    return "sbx_" + secrets.token_hex(8)


def new_spec(image: str, **changes: Any) -> SandboxSpec:
    """Return a spec of two small services: `web` responds on port 8080, `store` only waits."""
    web = ServiceSpec(
        name="web",
        image=image,
        memory_mb=48,
        cpus=0.5,
        pids=24,
        environment={"TOKEN": "not-to-be-told"},
        command=SERVE,
        user="65534:65534",
        ports=[8080],
        tmpfs={"/tmp": 8},
        read_only=True,
        # A service that hangs takes all of it.
        stop_seconds=1,
    )
    store = replace(web, name="store", command=WAIT, ports=[], read_only=False)
    ready = [HttpCheck("web", 8080, "/ok")]
    return replace(SandboxSpec(new_id(), "tiny", [web, store], ready, disk_mb=64), **changes)


def with_service(spec: SandboxSpec, name: str, **changes: Any) -> SandboxSpec:
    """Return the spec with one service changed."""
    services = [replace(s, **changes) if s.name == name else s for s in spec.services]
    return replace(spec, services=services)


class RuntimeHarness(Protocol):
    """A runtime, and the events that a test can cause."""

    runtime: Runtime

    def spec(self, **changes: Any) -> SandboxSpec: ...
    def send_request(self, facts: SandboxFacts) -> None: ...
    def fill_disk(self, spec: SandboxSpec, megabytes: int) -> None: ...
    def write_data(self, spec: SandboxSpec, text: str) -> None: ...
    def read_data(self, spec: SandboxSpec) -> str: ...
    def write_log(self, spec: SandboxSpec, *lines: str) -> None: ...
    def stop_service(self, spec: SandboxSpec, service: str, code: int) -> None: ...
    def hang(self, spec: SandboxSpec) -> None: ...
    def remove_service(self, spec: SandboxSpec, service: str) -> None: ...
    def failing_spec(self, code: int, output: str) -> SandboxSpec: ...
    def command_with_result(self, code: int, output: str) -> list[str]: ...
    def add_orphan(self, sandbox_id: str) -> None: ...
    def with_missing_image(self, spec: SandboxSpec) -> SandboxSpec: ...
    def rebuild_image(self, image: str) -> None: ...
    def with_capacity_for_one(self) -> Runtime: ...
    def unreachable_runtime(self) -> Runtime: ...


class MemoryHarness:
    def __init__(self) -> None:
        self.runtime = MemoryRuntime()

    def spec(self, **changes: Any) -> SandboxSpec:
        return new_spec("tiny", **changes)

    def send_request(self, facts: SandboxFacts) -> None:
        self.runtime.add_traffic(facts.id, 1000)

    def fill_disk(self, spec: SandboxSpec, megabytes: int) -> None:
        self.runtime.set_disk_usage(spec.id, megabytes)

    def write_data(self, spec: SandboxSpec, text: str) -> None:
        self.runtime.write_data(spec.id, text)

    def read_data(self, spec: SandboxSpec) -> str:
        return self.runtime.read_data(spec.id)

    def write_log(self, spec: SandboxSpec, *lines: str) -> None:
        for line in lines:
            self.runtime.write_log(spec.id, "store", line)

    def stop_service(self, spec: SandboxSpec, service: str, code: int) -> None:
        self.runtime.stop_service(spec.id, service, code)

    def hang(self, spec: SandboxSpec) -> None:
        self.runtime.break_ports(spec.id, "The service web doesn't respond to GET /ok.")

    def remove_service(self, spec: SandboxSpec, service: str) -> None:
        self.runtime.remove_service(spec.id, service)

    def failing_spec(self, code: int, output: str) -> SandboxSpec:
        self.runtime.fail_startup("store", code, output)
        return self.spec()

    def command_with_result(self, code: int, output: str) -> list[str]:
        self.runtime.command_results["say", output] = (code, output)
        return ["say", output]

    def add_orphan(self, sandbox_id: str) -> None:
        self.runtime.add_orphan(sandbox_id)

    def with_missing_image(self, spec: SandboxSpec) -> SandboxSpec:
        self.runtime.missing_images.add("absent")
        return with_service(spec, "store", image="absent")

    def rebuild_image(self, image: str) -> None:
        self.runtime.rebuilds[image] += 1

    def with_capacity_for_one(self) -> Runtime:
        self.runtime = MemoryRuntime(capacity=1)
        return self.runtime

    def unreachable_runtime(self) -> Runtime:
        runtime = MemoryRuntime()
        runtime.unreachable = True
        return runtime


class ProcessHarness:
    """Processes of this machine, with an instance name of their own."""

    def __init__(self, home: Path) -> None:
        self.instance = f"tests-{secrets.token_hex(4)}"
        self.home = home
        self.runtime = self.new_runtime()
        share_interpreter(home)
        www = home.parent / "www"
        www.mkdir()
        (www / "ok").write_text("ok\n")
        with creating_shared():
            self.runtime.templates.ensure([TemplateBuild("tiny", [www])], ignore_step)

    def new_runtime(self, **options: Any) -> ProcessRuntime:
        return ProcessRuntime(self.instance, self.home, **options)

    def spec(self, **changes: Any) -> SandboxSpec:
        spec = new_spec("tiny", **changes)
        spec = with_service(spec, "web", process=ProcessSpec(SERVE_PAGE, {"PORT": "{port}"}))
        return with_service(spec, "store", process=ProcessSpec(WAIT_AT_HOME))

    def create(self, **changes: Any) -> tuple[SandboxSpec, SandboxFacts]:
        spec = self.spec(**changes)
        return spec, self.runtime.create(spec, ignore_step, TIME_LIMIT)

    def send_request(self, facts: SandboxFacts) -> None:
        fetch_page(facts)

    def fill_disk(self, spec: SandboxSpec, megabytes: int) -> None:
        fill = ["dd", "if=/dev/zero", "of=fill", "bs=1M", f"count={megabytes}"]
        assert self.runtime.execute(spec.id, "store", fill, TIME_LIMIT)[0] == 0

    def write_data(self, spec: SandboxSpec, text: str) -> None:
        write_data(self.runtime, spec, "data", text)

    def read_data(self, spec: SandboxSpec) -> str:
        return self.runtime.execute(spec.id, "store", ["cat", "data"], 5)[1]

    def write_log(self, spec: SandboxSpec, *lines: str) -> None:
        write_log(self.runtime, spec, "", lines)

    def stop_service(self, spec: SandboxSpec, service: str, code: int) -> None:
        self.runtime.execute(spec.id, service, ["sh", "-c", f"echo {code} > exit"], 5)
        wait_for(lambda: not self.runtime.observe()[spec.id].alive, "the service has stopped")
        self.runtime.execute(spec.id, "web", ["rm", "-f", f"../{service}/exit"], 5)

    def hang(self, spec: SandboxSpec) -> None:
        """Stop the processes of `web` in the middle of what they do."""
        state = StateDir(self.home).sandbox(spec.id).state()
        os.kill(state["services"]["web"]["pid"], signal.SIGSTOP)

    def remove_service(self, spec: SandboxSpec, service: str) -> None:
        directory = StateDir(self.home).sandbox(spec.id)
        state = directory.state()
        directory.write_state(
            state | {"services": {n: s for n, s in state["services"].items() if n != service}}
        )

    def failing_spec(self, code: int, output: str) -> SandboxSpec:
        never = [HttpCheck("web", 8080, "/never")]
        die = ProcessSpec(["sh", "-c", f"echo {output}; exit {code}"])
        return with_service(self.spec(ready=never), "store", process=die)

    def command_with_result(self, code: int, output: str) -> list[str]:
        return ["sh", "-c", f"printf %s '{output}'; exit {code}"]

    def add_orphan(self, sandbox_id: str) -> None:
        (self.home / sandbox_id).mkdir()

    def with_missing_image(self, spec: SandboxSpec) -> SandboxSpec:
        return with_service(spec, "store", image="sandboxportal-tests/absent:none")

    def rebuild_image(self, image: str) -> None:
        (self.home.parent / "www" / "news").write_text(secrets.token_hex(4))
        self.runtime.templates.ensure(
            [TemplateBuild(image, [self.home.parent / "www"])], ignore_step
        )

    def with_capacity_for_one(self) -> Runtime:
        port = reserve_port()
        self.runtime = self.new_runtime(ports=range(port, port + 1))
        return self.runtime

    def unreachable_runtime(self) -> Runtime:
        return ProcessRuntime(self.instance, Path("/proc/nowhere"))

    def remaining(self) -> list[str]:
        """Return all processes and directories of this instance."""
        running = process_table.members(self.instance, self.home)
        return [*running, *StateDir(self.home).sandboxes(), *self.runtime.save_points()]

    def clear(self) -> None:
        for sandbox_id in self.new_runtime().observe():
            self.new_runtime().destroy(sandbox_id)
        for save_point in self.new_runtime().save_points():
            self.new_runtime().remove_save_point(save_point)
        assert self.remaining() == []


class DockerHarness:
    """The machine's engine, with an instance name of its own."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.instance = f"tests-{secrets.token_hex(4)}"
        self.client = docker.APIClient(timeout=int(TIME_LIMIT))
        self.runtime = self.new_runtime()

    def new_runtime(
        self,
        subnets: IPv4Network = SUBNETS,
        *,
        engine_url: str = "",
        bind_address: str = "127.0.0.1",
        public_host: str = "",
        **options: Any,
    ) -> DockerRuntime:
        where = EngineConnection(engine_url, bind_address, public_host)
        return DockerRuntime(self.instance, subnets, **{"connection": where} | options)

    def spec(self, **changes: Any) -> SandboxSpec:
        return new_spec(self.image, **changes)

    def create(self, **changes: Any) -> tuple[SandboxSpec, SandboxFacts]:
        spec = self.spec(**changes)
        return spec, self.runtime.create(spec, ignore_step, TIME_LIMIT)

    def send_request(self, facts: SandboxFacts) -> None:
        fetch_page(facts)
        time.sleep(0.2)  # Wait for the last packets of the connection.

    def reaches(self, spec: SandboxSpec, host: str, port: int, *, seconds: int = 4) -> bool:
        """Return whether a service of the sandbox gets a response from this address in time."""
        send = f"echo -e 'GET /ok HTTP/1.0\\r\\n\\r' | nc -w {seconds} {host} {port}"
        command = ["sh", "-c", send]
        return "ok" in self.runtime.execute(spec.id, "web", command, 15)[1]

    def fill_disk(self, spec: SandboxSpec, megabytes: int) -> None:
        fill = ["dd", "if=/dev/zero", "of=/home/fill", "bs=1M", f"count={megabytes}"]
        assert self.runtime.execute(spec.id, "store", fill, TIME_LIMIT)[0] == 0

    def write_data(self, spec: SandboxSpec, text: str) -> None:
        write_data(self.runtime, spec, "/home/data", text)

    def read_data(self, spec: SandboxSpec) -> str:
        return self.runtime.execute(spec.id, "store", ["cat", "/home/data"], 5)[1]

    def write_log(self, spec: SandboxSpec, *lines: str) -> None:
        write_log(self.runtime, spec, "/tmp/", lines)

    def stop_service(self, spec: SandboxSpec, service: str, code: int) -> None:
        self.runtime.execute(spec.id, service, ["sh", "-c", f"echo {code} > /tmp/exit"], 5)
        wait_for(lambda: not self.runtime.observe()[spec.id].alive, "the service has stopped")

    def hang(self, spec: SandboxSpec) -> None:
        """Stop the processes of `web` in the middle of what they do."""
        self.runtime.execute(spec.id, "web", ["sh", "-c", hang_command("httpd")], 5)

    def remove_service(self, spec: SandboxSpec, service: str) -> None:
        self.client.remove_container(f"{spec.id}-{service}-1", force=True)

    def failing_spec(self, code: int, output: str) -> SandboxSpec:
        # The other service never becomes ready, so only the exit ends the wait.
        never = [HttpCheck("web", 8080, "/never")]
        die = ["sh", "-c", f"echo {output}; exit {code}"]
        return with_service(self.spec(ready=never), "store", command=die)

    def command_with_result(self, code: int, output: str) -> list[str]:
        return ["sh", "-c", f"echo -n '{output}'; exit {code}"]

    def add_orphan(self, sandbox_id: str) -> None:
        labels = {
            "sandboxportal.instance": self.instance,
            "sandboxportal.sandbox": sandbox_id,
        }
        self.client.create_network(f"{sandbox_id}_planted", labels=labels)

    def with_missing_image(self, spec: SandboxSpec) -> SandboxSpec:
        return with_service(spec, "store", image="sandboxportal-tests/absent:none")

    def rebuild_image(self, image: str) -> None:
        file = io.BytesIO(f"FROM {image}\nLABEL by={self.instance}\n".encode())
        list(self.client.build(fileobj=file, tag=image, rm=True, decode=True))

    def with_capacity_for_one(self) -> Runtime:
        self.runtime = self.new_runtime(IPv4Network(f"10.214.{16 + secrets.randbelow(200)}.0/28"))
        return self.runtime

    def unreachable_runtime(self) -> Runtime:
        return self.new_runtime(engine_url="unix:///nowhere/docker.sock")

    def inspect(self, spec: SandboxSpec, service: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.inspect_container(f"{spec.id}-{service}-1")
        return found

    def remaining(self) -> list[str]:
        """Return all engine objects of this instance."""
        filters = {"label": f"sandboxportal.instance={self.instance}"}
        return [
            *(row["Id"] for row in self.client.containers(all=True, filters=filters)),
            *(row["Id"] for row in self.client.networks(filters=filters)),
            *(row["Name"] for row in self.client.volumes(filters=filters)["Volumes"] or ()),
            *(row["Id"] for row in self.client.images(filters=filters)),
        ]

    def clear(self) -> None:
        # An engine takes long to remove tens of thousands of files; the portal tries again, too.
        wait_for(self._destroy_all, "all sandboxes are destroyed", 120)
        assert self.remaining() == []

    def _destroy_all(self) -> bool:
        """Destroy all sandboxes; return False if the engine still works on it."""
        try:
            for sandbox_id in self.new_runtime().observe():
                self.new_runtime().destroy(sandbox_id)
            for save_point in self.new_runtime().save_points():
                self.new_runtime().remove_save_point(save_point)
        except EngineUnreachable:
            return False
        return True


def command_of(process: process_table.Process) -> str:
    """Return the process's command, separated by NUL; empty if it has ended."""
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text()
    except OSError:
        return ""


def hang_command(program: str) -> str:
    """Return a shell command that stops all processes of a program without ending them."""
    stop = f'[ "$name" = {program} ] && kill -STOP ${{p#/proc/}}'
    return f"for p in /proc/[0-9]*; do read name < $p/comm; {stop}; done"


def write_data(runtime: Runtime, spec: SandboxSpec, file: str, text: str) -> None:
    """Let `store` keep a text in a file of its own."""
    put = ["sh", "-c", f"echo -n {shlex.quote(text)} > {file}"]
    assert runtime.execute(spec.id, "store", put, 5) == (0, "")


def write_log(runtime: Runtime, spec: SandboxSpec, directory: str, lines: Sequence[str]) -> None:
    """Make `store` write these lines to its log, and wait until they are there."""
    draft = f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} > {directory}draft"
    put = f"{draft}; mv {directory}draft {directory}say"
    assert runtime.execute(spec.id, "store", ["sh", "-c", put], 5)[0] == 0
    expected = list(lines)
    wait_for(
        lambda: runtime.logs(spec.id, "store", len(expected)).splitlines() == expected,
        "the lines are logged",
    )


def fetch_page(facts: SandboxFacts) -> None:
    """Request the page as a caller would."""
    where = facts.services["web"].ports[8080]
    with urllib.request.urlopen(f"http://{where.host}:{where.port}/ok", timeout=5) as answer:
        assert answer.read() == b"ok\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let repairs restart a sandbox that doesn't respond within a second."""
    for module in (docker_repair, process_repair):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 1.0)


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with import_busybox_image(tmp_path_factory.mktemp("busybox")) as name:
        yield name


@contextmanager
def running_docker_harness(image: str) -> Iterator[DockerHarness]:
    harness = DockerHarness(image)
    try:
        yield harness
    finally:
        harness.clear()


@contextmanager
def running_process_harness() -> Iterator[ProcessHarness]:
    # Other users must be able to enter it: under root, sandboxes run as other users.
    with tempfile.TemporaryDirectory(prefix="portal-tests-processes-") as directory:
        Path(directory).chmod(0o755)
        harness = ProcessHarness(Path(directory).resolve() / "home")
        try:
            yield harness
        finally:
            harness.clear()


@pytest.fixture
def docker_harness(tiny_image: str) -> Iterator[DockerHarness]:
    with running_docker_harness(tiny_image) as harness:
        yield harness


@pytest.fixture
def process_harness() -> Iterator[ProcessHarness]:
    with running_process_harness() as harness:
        yield harness


@contextmanager
def _running_harness(request: pytest.FixtureRequest) -> Iterator[RuntimeHarness]:
    """Provide the harness of the runtime that the parameter names."""
    if request.param == "memory":
        yield MemoryHarness()
    elif request.param == "process":
        with running_process_harness() as processes:
            yield processes
    else:
        with running_docker_harness(request.getfixturevalue("tiny_image")) as containers:
            yield containers


KINDS = [
    "memory",
    pytest.param("process", marks=pytest.mark.slow),
    pytest.param("docker", marks=pytest.mark.engine),
]


@pytest.fixture(params=KINDS)
def harness(request: pytest.FixtureRequest) -> Iterator[RuntimeHarness]:
    """Return each of the three runtimes in turn."""
    with _running_harness(request) as harness:
        yield harness


@pytest.fixture(params=[KINDS[0], KINDS[2]])
def container_harness(request: pytest.FixtureRequest) -> Iterator[RuntimeHarness]:
    """Return each of the runtimes that don't need services to run as processes."""
    with _running_harness(request) as harness:
        yield harness


H = TypeVar("H", bound=RuntimeHarness)


@dataclass
class SharedSandbox(Generic[H]):
    """A running sandbox, alone on its runtime, that the tests of a module share.

    They may read it, send requests to it and add files, but leave its services running.
    """

    harness: H
    spec: SandboxSpec
    facts: SandboxFacts
    """What `create` returned."""
    steps: Sequence[str]
    """What `create` reported."""

    @property
    def runtime(self) -> Runtime:
        return self.harness.runtime


def create_shared_sandbox(harness: H) -> SharedSandbox[H]:
    spec, steps = harness.spec(), list[str]()
    facts = harness.runtime.create(spec, steps.append, TIME_LIMIT)
    return SharedSandbox(harness, spec, facts, steps)


@pytest.fixture(scope="module", params=KINDS)
def shared_sandbox(request: pytest.FixtureRequest) -> Iterator[SharedSandbox[RuntimeHarness]]:
    with _running_harness(request) as harness:
        yield create_shared_sandbox(harness)


@pytest.fixture(scope="module")
def docker_sandbox(tiny_image: str) -> Iterator[SharedSandbox[DockerHarness]]:
    with running_docker_harness(tiny_image) as harness:
        yield create_shared_sandbox(harness)
