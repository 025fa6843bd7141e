"""The three runtimes, each on a bench with the tools to make happen what happens to an engine.

Register it with `pytest_plugins = ["tests.harness.runtimes"]`.
"""

from __future__ import annotations

import io
import secrets
import shlex
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Protocol

import docker
import pytest

from sandboxes.runtime import (
    ProcessSpec,
    ReadyCheck,
    Runtime,
    SandboxFacts,
    SandboxSpec,
    ServiceSpec,
)
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.memory import MemoryRuntime
from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.ports import ReservedPorts
from sandboxes.runtime.process.runtime import ProcessRuntime
from sandboxes.runtime.process.state_dir import StateDir
from sandboxes.runtime.process.templates import TemplateBuild
from tests.harness.busybox_image import imported_image
from tests.harness.shared_files import share_interpreter
from tests.helpers.wait import wait_for

TIME_LIMIT = 30.0
SUBNETS = IPv4Network("10.214.0.0/20")
SERVE = ("httpd", "-f", "-p", "8080", "-h", "/www")
SAY_AND_WAIT = (
    "until [ -s exit ]; do if [ -s say ]; then mv say said; cat said; fi; sleep 0.1; done;"
    " exit $(cat exit)"
)
"""It writes to its log whatever it finds in one file, and exits as another one tells it."""
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


def quiet(step: str) -> None:
    """A report that nobody reads."""


def new_id() -> str:
    return "sbx_" + secrets.token_hex(8)


def specification(image: str, **changes: Any) -> SandboxSpec:
    """Two small services: `web` answers on 8080, `store` keeps it company."""
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
    )
    store = replace(web, name="store", command=WAIT, ports=[], read_only=False)
    ready = [ReadyCheck("web", 8080, "/ok")]
    return replace(SandboxSpec(new_id(), "tiny", [web, store], ready, disk_mb=64), **changes)


def with_service(spec: SandboxSpec, name: str, **changes: Any) -> SandboxSpec:
    """The same, with one service changed."""
    services = [replace(s, **changes) if s.name == name else s for s in spec.services]
    return replace(spec, services=services)


class RuntimeHarness(Protocol):
    """A runtime, and what the world does to it."""

    runtime: Runtime

    def spec(self, **changes: Any) -> SandboxSpec: ...
    def use(self, facts: SandboxFacts) -> None: ...
    def fill(self, spec: SandboxSpec, megabytes: int) -> None: ...
    def say(self, spec: SandboxSpec, *lines: str) -> None: ...
    def stop(self, spec: SandboxSpec, service: str, code: int) -> None: ...
    def doomed(self, code: int, last_words: str) -> SandboxSpec: ...
    def command(self, code: int, output: str) -> list[str]: ...
    def plant(self, sandbox_id: str) -> None: ...
    def without_image(self, spec: SandboxSpec) -> SandboxSpec: ...
    def rebuild(self, image: str) -> None: ...
    def with_room_for_one(self) -> Runtime: ...
    def unreachable(self) -> Runtime: ...


class MemoryHarness:
    def __init__(self) -> None:
        self.runtime = MemoryRuntime()

    def spec(self, **changes: Any) -> SandboxSpec:
        return specification("tiny", **changes)

    def use(self, facts: SandboxFacts) -> None:
        self.runtime.add_traffic(facts.id, 1000)

    def fill(self, spec: SandboxSpec, megabytes: int) -> None:
        self.runtime.set_disk_usage(spec.id, megabytes)

    def say(self, spec: SandboxSpec, *lines: str) -> None:
        for line in lines:
            self.runtime.write_log(spec.id, "store", line)

    def stop(self, spec: SandboxSpec, service: str, code: int) -> None:
        self.runtime.stop_service(spec.id, service, code)

    def doomed(self, code: int, last_words: str) -> SandboxSpec:
        self.runtime.fail_startup("store", code, last_words)
        return self.spec()

    def command(self, code: int, output: str) -> list[str]:
        self.runtime.answers["say", output] = (code, output)
        return ["say", output]

    def plant(self, sandbox_id: str) -> None:
        self.runtime.add_orphan(sandbox_id)

    def without_image(self, spec: SandboxSpec) -> SandboxSpec:
        self.runtime.missing.add("absent")
        return with_service(spec, "store", image="absent")

    def rebuild(self, image: str) -> None:
        self.runtime.builds[image] += 1

    def with_room_for_one(self) -> Runtime:
        self.runtime = MemoryRuntime(capacity=1)
        return self.runtime

    def unreachable(self) -> Runtime:
        runtime = MemoryRuntime()
        runtime.unreachable = True
        return runtime


class ProcessHarness:
    """Processes of this machine, of an instance of its own, which leaves nothing behind."""

    def __init__(self, home: Path) -> None:
        self.instance = f"tests-{secrets.token_hex(4)}"
        self.home = home
        self.runtime = self.make()
        share_interpreter(home)
        www = home.parent / "www"
        www.mkdir()
        (www / "ok").write_text("ok\n")
        self.runtime.templates.ensure([TemplateBuild("tiny", [www])], quiet)

    def make(self, **options: Any) -> ProcessRuntime:
        return ProcessRuntime(self.instance, self.home, **options)

    def spec(self, **changes: Any) -> SandboxSpec:
        spec = specification("tiny", **changes)
        spec = with_service(spec, "web", process=ProcessSpec(SERVE_PAGE, {"PORT": "{port}"}))
        return with_service(spec, "store", process=ProcessSpec(WAIT_AT_HOME))

    def create(self, **changes: Any) -> tuple[SandboxSpec, SandboxFacts]:
        spec = self.spec(**changes)
        return spec, self.runtime.create(spec, quiet, TIME_LIMIT)

    def use(self, facts: SandboxFacts) -> None:
        fetch(facts)

    def fill(self, spec: SandboxSpec, megabytes: int) -> None:
        fill = ["dd", "if=/dev/zero", "of=fill", "bs=1M", f"count={megabytes}"]
        assert self.runtime.execute(spec.id, "store", fill, TIME_LIMIT)[0] == 0

    def say(self, spec: SandboxSpec, *lines: str) -> None:
        say(self.runtime, spec, "", lines)

    def stop(self, spec: SandboxSpec, service: str, code: int) -> None:
        self.runtime.execute(spec.id, service, ["sh", "-c", f"echo {code} > exit"], 5)
        wait_for(lambda: not self.runtime.observe()[spec.id].alive, "it is dead")
        self.runtime.execute(spec.id, "web", ["rm", "-f", f"../{service}/exit"], 5)

    def doomed(self, code: int, last_words: str) -> SandboxSpec:
        never = [ReadyCheck("web", 8080, "/never")]
        die = ProcessSpec(["sh", "-c", f"echo {last_words}; exit {code}"])
        return with_service(self.spec(ready=never), "store", process=die)

    def command(self, code: int, output: str) -> list[str]:
        return ["sh", "-c", f"printf %s '{output}'; exit {code}"]

    def plant(self, sandbox_id: str) -> None:
        (self.home / sandbox_id).mkdir()

    def without_image(self, spec: SandboxSpec) -> SandboxSpec:
        return with_service(spec, "store", image="sandboxportal-tests/absent:none")

    def rebuild(self, image: str) -> None:
        (self.home.parent / "www" / "news").write_text(secrets.token_hex(4))
        self.runtime.templates.ensure([TemplateBuild(image, [self.home.parent / "www"])], quiet)

    def with_room_for_one(self) -> Runtime:
        with ReservedPorts() as reserved:
            port = reserved.reserve_any("127.0.0.1", (), set())
        self.runtime = self.make(ports=range(port, port + 1))
        return self.runtime

    def unreachable(self) -> Runtime:
        return ProcessRuntime(self.instance, Path("/proc/nowhere"))

    def left(self) -> list[str]:
        """All that is left of this bench: processes, and directories of sandboxes."""
        running = process_table.members(self.instance, self.home)
        return [*running, *StateDir(self.home).sandboxes()]

    def clear(self) -> None:
        for sandbox_id in self.make().observe():
            self.make().destroy(sandbox_id)
        assert self.left() == []


class DockerHarness:
    """On the machine's engine, as an instance of its own, which leaves nothing behind."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.instance = f"tests-{secrets.token_hex(4)}"
        self.client = docker.APIClient(timeout=int(TIME_LIMIT))
        self.runtime = self.make()

    def make(self, subnets: IPv4Network = SUBNETS, **options: Any) -> DockerRuntime:
        return DockerRuntime(self.instance, subnets, **options)

    def spec(self, **changes: Any) -> SandboxSpec:
        return specification(self.image, **changes)

    def create(self, **changes: Any) -> tuple[SandboxSpec, SandboxFacts]:
        spec = self.spec(**changes)
        return spec, self.runtime.create(spec, quiet, TIME_LIMIT)

    def use(self, facts: SandboxFacts) -> None:
        fetch(facts)
        time.sleep(0.2)  # The last packets of the connection.

    def reaches(self, spec: SandboxSpec, host: str, port: int) -> bool:
        """Whether a service of the sandbox gets any answer from there."""
        command = ["sh", "-c", f"echo -e 'GET /ok HTTP/1.0\\r\\n\\r' | nc -w 4 {host} {port}"]
        return "ok" in self.runtime.execute(spec.id, "web", command, 15)[1]

    def fill(self, spec: SandboxSpec, megabytes: int) -> None:
        fill = ["dd", "if=/dev/zero", "of=/home/fill", "bs=1M", f"count={megabytes}"]
        assert self.runtime.execute(spec.id, "store", fill, TIME_LIMIT)[0] == 0

    def say(self, spec: SandboxSpec, *lines: str) -> None:
        say(self.runtime, spec, "/tmp/", lines)

    def stop(self, spec: SandboxSpec, service: str, code: int) -> None:
        self.runtime.execute(spec.id, service, ["sh", "-c", f"echo {code} > /tmp/exit"], 5)
        wait_for(lambda: not self.runtime.observe()[spec.id].alive, "it is dead")

    def doomed(self, code: int, last_words: str) -> SandboxSpec:
        # The other service would never be ready: what ends the wait is the exit.
        never = [ReadyCheck("web", 8080, "/never")]
        die = ["sh", "-c", f"echo {last_words}; exit {code}"]
        return with_service(self.spec(ready=never), "store", command=die)

    def command(self, code: int, output: str) -> list[str]:
        return ["sh", "-c", f"echo -n '{output}'; exit {code}"]

    def plant(self, sandbox_id: str) -> None:
        labels = {
            "sandboxportal.instance": self.instance,
            "sandboxportal.sandbox": sandbox_id,
        }
        self.client.create_network(f"{sandbox_id}_planted", labels=labels)

    def without_image(self, spec: SandboxSpec) -> SandboxSpec:
        return with_service(spec, "store", image="sandboxportal-tests/absent:none")

    def rebuild(self, image: str) -> None:
        file = io.BytesIO(f"FROM {image}\nLABEL by={self.instance}\n".encode())
        list(self.client.build(fileobj=file, tag=image, rm=True, decode=True))

    def with_room_for_one(self) -> Runtime:
        self.runtime = self.make(IPv4Network(f"10.214.{16 + secrets.randbelow(200)}.0/28"))
        return self.runtime

    def unreachable(self) -> Runtime:
        return self.make(engine_url="unix:///nowhere/docker.sock")

    def inspect(self, spec: SandboxSpec, service: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.inspect_container(f"{spec.id}-{service}-1")
        return found

    def left(self) -> list[str]:
        """All engine objects of this bench."""
        filters = {"label": f"sandboxportal.instance={self.instance}"}
        return [
            *(row["Id"] for row in self.client.containers(all=True, filters=filters)),
            *(row["Id"] for row in self.client.networks(filters=filters)),
            *(row["Name"] for row in self.client.volumes(filters=filters)["Volumes"] or ()),
        ]

    def clear(self) -> None:
        for sandbox_id in self.make().observe():
            self.make().destroy(sandbox_id)
        assert self.left() == []


def command_of(process: process_table.Process) -> str:
    """What it runs, NUL between the words; nothing when it has ended meanwhile."""
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text()
    except OSError:
        return ""


def say(runtime: Runtime, spec: SandboxSpec, folder: str, lines: Sequence[str]) -> None:
    """Have `store` write these lines to its log, and wait until they are there."""
    draft = f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} > {folder}draft"
    put = f"{draft}; mv {folder}draft {folder}say"
    assert runtime.execute(spec.id, "store", ["sh", "-c", put], 5)[0] == 0
    wanted = list(lines)
    wait_for(
        lambda: runtime.logs(spec.id, "store", len(wanted)).splitlines() == wanted, "it is said"
    )


def fetch(facts: SandboxFacts) -> None:
    """Ask for the page, as a caller would."""
    where = facts.services["web"].ports[8080]
    with urllib.request.urlopen(f"http://{where.host}:{where.port}/ok", timeout=5) as answer:
        assert answer.read() == b"ok\n"


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with imported_image(tmp_path_factory.mktemp("busybox")) as name:
        yield name


@pytest.fixture
def docker_harness(tiny_image: str) -> Iterator[DockerHarness]:
    harness = DockerHarness(tiny_image)
    yield harness
    harness.clear()


@pytest.fixture
def process_harness() -> Iterator[ProcessHarness]:
    # Other users must be able to enter it: as root, that is who sandboxes run as.
    with tempfile.TemporaryDirectory(prefix="portal-tests-processes-") as folder:
        Path(folder).chmod(0o755)
        harness = ProcessHarness(Path(folder).resolve() / "home")
        yield harness
        harness.clear()


@pytest.fixture(params=["memory", "process", pytest.param("docker", marks=pytest.mark.engine)])
def harness(request: pytest.FixtureRequest) -> RuntimeHarness:
    """One after the other: whatever holds on one has to hold on the others."""
    if request.param == "memory":
        return MemoryHarness()
    made: RuntimeHarness = request.getfixturevalue(f"{request.param}_harness")
    return made
