"""The Docker runtime on a real engine: what only an engine can show."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from sandboxes.runtime import (
    EngineRefused,
    EngineUnreachable,
    NotReady,
    ReadyCheck,
    SandboxSpec,
)
from sandboxes.runtime.docker import DockerRuntime, meters
from sandboxes.runtime.docker.engine import Engine
from tests.runtimes import SUBNETS, TIME_LIMIT, DockerBench, new_id, quiet, until, with_service

pytestmark = pytest.mark.engine

ENGINE_SOCKET = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or "/var/run/docker.sock"


# --- a container's clothes ---------------------------------------------------------------------


def test_a_container_wears_its_clothes(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create()
    host = docker_bench.inspect(spec, "web")["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
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


def test_inside_a_container_there_is_no_privilege_to_be_had(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create()
    _, text = docker_bench.runtime.execute(spec.id, "web", ["cat", "/proc/1/status"], 10)
    status = dict(line.split(":", 1) for line in text.splitlines())
    assert status["Uid"].split() == ["65534"] * 4
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_a_read_only_root_file_system_can_be_written_in_its_tmpfs_alone(
    docker_bench: DockerBench,
) -> None:
    spec, _ = docker_bench.create()

    def write(path: str, megabytes: int) -> int:
        command = ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={megabytes}"]
        return docker_bench.runtime.execute(spec.id, "web", command, 10)[0]

    assert write("/home/x", 1) != 0
    assert write("/tmp/x", 1) == 0
    assert write("/tmp/x", 9) != 0


@pytest.mark.parametrize(
    ("instruction", "why"), [("USER root", "runs as root"), ("VOLUME /home", "declares volumes")]
)
def test_an_image_that_would_undo_the_clothes_is_refused(
    docker_bench: DockerBench, instruction: str, why: str
) -> None:
    file = io.BytesIO(f"FROM {docker_bench.image}\n{instruction}\n".encode())
    tag = f"sandboxportal-tests/undone:{docker_bench.instance}"
    list(docker_bench.client.build(fileobj=file, tag=tag, rm=True))
    spec = with_service(docker_bench.spec(), "store", image=tag, user="")
    try:
        with pytest.raises(EngineRefused, match=why):
            docker_bench.runtime.create(spec, quiet, TIME_LIMIT)
    finally:
        docker_bench.client.remove_image(tag, force=True)


def test_no_more_processes_than_allowed(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create()
    many = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo all"
    _, output = docker_bench.runtime.execute(spec.id, "store", ["sh", "-c", many], 20)
    assert "can't fork" in output
    assert docker_bench.runtime.observe()[spec.id].alive


def test_a_file_can_not_grow_over_the_disk_limit(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create(disk_mb=8)
    grow = ["dd", "if=/dev/zero", "of=/home/x", "bs=1M", "count=20"]
    code, _ = docker_bench.runtime.execute(spec.id, "store", grow, 20)
    size = docker_bench.runtime.execute(spec.id, "store", ["sh", "-c", "wc -c < /home/x"], 5)[1]
    assert code != 0
    assert int(size or 0) <= 8 * 2**20


def test_a_service_that_ran_out_of_memory_is_told_as_such(docker_bench: DockerBench) -> None:
    # `tail` keeps a line that has no end in memory.
    eat = ["sh", "-c", "until [ -s /tmp/exit ]; do sleep 0.1; done; tail /dev/zero"]
    spec = with_service(docker_bench.spec(), "store", command=eat)
    docker_bench.runtime.create(spec, quiet, TIME_LIMIT)
    docker_bench.stop(spec, "store", 1)
    store = docker_bench.runtime.observe()[spec.id].services["store"]
    assert store.out_of_memory
    assert store.exit_code == 137


# --- networks ------------------------------------------------------------------------------------


def reached(bench: DockerBench, spec: SandboxSpec, host: str, port: int) -> bool:
    """Whether a service of the sandbox gets any answer from there."""
    command = ["sh", "-c", f"echo -e 'GET /ok HTTP/1.0\\r\\n\\r' | nc -w 4 {host} {port}"]
    return "ok" in bench.runtime.execute(spec.id, "web", command, 15)[1]


def own_address(bench: DockerBench, spec: SandboxSpec, service: str) -> str:
    networks = bench.inspect(spec, service)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def test_services_reach_one_another_by_name(docker_bench: DockerBench) -> None:
    serve = ["httpd", "-f", "-p", "9000", "-h", "/www"]
    spec = with_service(docker_bench.spec(), "store", command=serve)
    docker_bench.runtime.create(spec, quiet, TIME_LIMIT)
    assert reached(docker_bench, spec, "store", 9000)
    assert not reached(docker_bench, spec, "store", 9001)


@pytest.mark.parametrize("bind_address", ["127.0.0.1", "0.0.0.0"])
def test_neighbours_can_not_reach_each_other(docker_bench: DockerBench, bind_address: str) -> None:
    docker_bench.runtime = docker_bench.make(bind_address=bind_address)
    mine, _ = docker_bench.create()
    other, _ = docker_bench.create()
    address = own_address(docker_bench, other, "web")
    assert reached(docker_bench, mine, "web", 8080)
    assert not reached(docker_bench, mine, address, 8080)


def test_ports_on_loopback_are_no_neighbours_way_in(docker_bench: DockerBench) -> None:
    mine, _ = docker_bench.create()
    _, facts = docker_bench.create()
    port = facts.services["web"].ports[8080].port
    networks = docker_bench.inspect(mine, "web")["NetworkSettings"]["Networks"].values()
    subnet = IPv4Network((f"{next(iter(networks))['IPAddress']}", 28), strict=False)
    assert not reached(docker_bench, mine, str(subnet[1]), port)
    assert not reached(docker_bench, mine, "127.0.0.1", port)


def host_address() -> str:
    """This machine's own address, as others see it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@contextmanager
def page_on(address: str) -> Iterator[int]:
    """A server on this machine that answers everyone with `ok`; its port."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\nok\n")

    with socketserver.ThreadingTCPServer((address, 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_nothing_outside_is_reached_without_egress(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create()
    with page_on(address := host_address()) as port:
        assert not reached(docker_bench, spec, address, port)
    assert not reached(docker_bench, spec, "169.254.169.254", 80)


def test_a_blueprint_that_is_allowed_to_gets_out(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create(egress=True)
    with page_on(address := host_address()) as port:
        assert reached(docker_bench, spec, address, port)


def test_other_names_than_those_of_services_are_asked_of_nobody(
    docker_bench: DockerBench,
) -> None:
    spec, _ = docker_bench.create()
    networks = docker_bench.inspect(spec, "web")["NetworkSettings"]["Networks"].values()
    address = next(iter(networks))["IPAddress"]
    subnet = IPv4Network((address, 28), strict=False)
    assert docker_bench.inspect(spec, "web")["HostConfig"]["Dns"] == [str(subnet[-2])]


def test_subnets_are_small_distinct_and_out_of_the_range(docker_bench: DockerBench) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: docker_bench.create(), range(4)))
    filters = {"label": f"sandboxportal.instance={docker_bench.instance}"}
    networks = docker_bench.client.networks(filters=filters)
    subnets = {IPv4Network(row["IPAM"]["Config"][0]["Subnet"]) for row in networks}
    assert len(subnets) == 4
    assert all(one.prefixlen == 28 and one.subnet_of(SUBNETS) for one in subnets)
    assert not any(row["EnableIPv6"] or row["Attachable"] for row in networks)


def test_a_subnet_that_another_network_has_is_left_alone(docker_bench: DockerBench) -> None:
    runtime = docker_bench.with_room_for_one()
    assert isinstance(runtime, DockerRuntime)
    subnet = str(runtime._networks.subnets)
    ipam = {"Driver": "default", "Config": [{"Subnet": subnet}]}
    other = docker_bench.client.create_network(new_id(), ipam=ipam)
    try:
        with pytest.raises(EngineRefused, match="taken"):
            docker_bench.create()
    finally:
        docker_bench.client.remove_network(other["Id"])


def test_ports_are_published_on_the_configured_address_and_told_as_of_the_public_one(
    docker_bench: DockerBench,
) -> None:
    docker_bench.runtime = docker_bench.make(public_host="sandboxes.example.com")
    spec, facts = docker_bench.create()
    published = docker_bench.inspect(spec, "web")["NetworkSettings"]["Ports"]["8080/tcp"]
    assert [one["HostIp"] for one in published] == ["127.0.0.1"]
    assert facts.services["web"].ports[8080].host == "sandboxes.example.com"


# --- what operators see --------------------------------------------------------------------------


def test_the_engines_own_tools_show_what_a_sandbox_is(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create()
    label = f"label=sandboxportal.sandbox={spec.id}"
    shown = subprocess.run(
        ["docker", "ps", "--filter", label, "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(shown.stdout.split()) == {f"{spec.id}-web-1", f"{spec.id}-store-1"}


def test_compose_finds_its_own_labels(docker_bench: DockerBench) -> None:
    """Those that `docker compose ls` and `docker compose -p … ps` filter by."""
    spec, _ = docker_bench.create()
    labels = docker_bench.inspect(spec, "web")["Config"]["Labels"]
    compose = {
        key.removeprefix("com.docker.compose."): value
        for key, value in labels.items()
        if key.startswith("com.docker.compose.")
    }
    assert compose.pop("config-hash")
    assert compose == {
        "project": spec.id,
        "service": "web",
        "container-number": "1",
        "oneoff": "False",
        "project.config_files": "tiny/compose.yaml",
    }
    assert "not-to-be-told" not in json.dumps(labels)


# --- what is not ours ----------------------------------------------------------------------------


def test_a_stranger_of_the_same_name_is_neither_used_nor_removed(
    docker_bench: DockerBench,
) -> None:
    spec = docker_bench.spec()
    stranger = docker_bench.client.create_container_from_config(
        {"Image": docker_bench.image, "Cmd": ["sleep", "60"]}, f"{spec.id}-web-1"
    )["Id"]
    try:
        with pytest.raises(EngineRefused, match="not this portal's"):
            docker_bench.runtime.create(spec, quiet, TIME_LIMIT)
        docker_bench.runtime.destroy(spec.id)
        assert docker_bench.client.inspect_container(stranger)["State"]["Status"] == "created"
    finally:
        docker_bench.client.remove_container(stranger, force=True)


def test_another_portals_sandboxes_are_neither_seen_nor_removed(
    docker_bench: DockerBench,
) -> None:
    spec, _ = docker_bench.create()
    other = DockerBench(docker_bench.image)
    assert other.runtime.observe() == {}
    other.runtime.destroy(spec.id)
    assert docker_bench.runtime.observe()[spec.id].alive


def test_a_container_that_an_operator_connected_does_not_keep_a_sandbox(
    docker_bench: DockerBench,
) -> None:
    spec, _ = docker_bench.create()
    client = docker_bench.client
    debugger = client.create_container_from_config(
        {"Image": docker_bench.image, "Cmd": ["sleep", "60"]}
    )["Id"]
    try:
        client.start(debugger)
        client.connect_container_to_network(debugger, f"{spec.id}_default")
        docker_bench.runtime.destroy(spec.id)
        assert client.inspect_container(debugger)["State"]["Running"]
    finally:
        client.remove_container(debugger, force=True)


# --- an engine that fails ------------------------------------------------------------------------


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


@pytest.mark.parametrize("request_line", [b"/networks/create", b"/containers/create", b"/start"])
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


# --- ready, commands, messages -------------------------------------------------------------------


def test_a_sandbox_that_never_answers_is_given_up_when_its_time_is_up(
    docker_bench: DockerBench,
) -> None:
    never = [ReadyCheck("web", 8080, "/never")]
    with pytest.raises(NotReady, match="GET /never") as caught:
        docker_bench.runtime.create(docker_bench.spec(ready=never), quiet, 2)
    assert caught.value.service == "web"


def test_while_it_waits_the_step_is_told_again(docker_bench: DockerBench) -> None:
    told: list[str] = []
    never = [ReadyCheck("web", 8080, "/never")]
    with pytest.raises(NotReady):
        docker_bench.runtime.create(docker_bench.spec(ready=never), told.append, 4)
    assert told.count("ready") >= 3


def test_a_command_that_takes_too_long_is_given_up(docker_bench: DockerBench) -> None:
    spec, _ = docker_bench.create()
    for command in (["sleep", "60"], ["sh", "-c", "while :; do echo x; done"]):
        began = time.monotonic()
        with pytest.raises(EngineRefused, match="within 1 second"):
            docker_bench.runtime.execute(spec.id, "web", command, 1)
        assert time.monotonic() - began < TIME_LIMIT


def test_a_command_that_is_not_there_is_told_with_its_service(docker_bench: DockerBench) -> None:
    spec = docker_bench.spec(ready=[ReadyCheck("web", 8080, "/never")])
    spec = with_service(spec, "store", command=["no-such-program"])
    with pytest.raises(NotReady) as caught:
        docker_bench.runtime.create(spec, quiet, TIME_LIMIT)
    assert (caught.value.service, caught.value.exit_code) == ("store", 127)
    assert "no-such-program" in docker_bench.runtime.logs(spec.id, "store", 5)


def test_a_user_that_is_not_there_is_told_with_the_service(docker_bench: DockerBench) -> None:
    spec = with_service(docker_bench.spec(), "store", user="ghost")
    with pytest.raises(EngineRefused, match=r"service store: .*ghost"):
        docker_bench.runtime.create(spec, quiet, TIME_LIMIT)


def test_no_secret_is_in_what_the_engine_is_quoted_with(docker_bench: DockerBench) -> None:
    secret = "s3cret-in-a-variable-with-no-name"
    spec = with_service(docker_bench.spec(), "store", environment={"": secret})
    with pytest.raises(EngineRefused, match="invalid environment variable: =•••"):
        docker_bench.runtime.create(spec, quiet, TIME_LIMIT)


def test_an_id_that_would_not_fit_into_names_is_refused(docker_bench: DockerBench) -> None:
    with pytest.raises(EngineRefused, match="lower-case"):
        docker_bench.runtime.create(docker_bench.spec(id="../Other"), quiet, TIME_LIMIT)


# --- activity ------------------------------------------------------------------------------------


def test_a_sandbox_that_nobody_uses_has_no_traffic_to_speak_of(docker_bench: DockerBench) -> None:
    spec, facts = docker_bench.create()
    time.sleep(15)  # The host announces itself on the new network in its first seconds.
    moved = (docker_bench.runtime.observe()[spec.id].traffic_bytes or 0) - (
        facts.traffic_bytes or 0
    )
    assert 0 <= moved < 256


def test_talk_of_services_among_themselves_is_no_traffic(docker_bench: DockerBench) -> None:
    serve = ["httpd", "-f", "-p", "9000", "-h", "/www"]
    spec = with_service(docker_bench.spec(), "store", command=serve)
    facts = docker_bench.runtime.create(spec, quiet, TIME_LIMIT)
    for _ in range(10):
        assert reached(docker_bench, spec, "store", 9000)
    moved = (docker_bench.runtime.observe()[spec.id].traffic_bytes or 0) - (
        facts.traffic_bytes or 0
    )
    assert 0 <= moved < 256


def test_one_sided_bytes_are_no_traffic() -> None:
    used = meters.Flow(received=4000, sent=5000)
    announced = meters.Flow(received=4400, sent=5000)
    deserted = meters.Flow(received=4000, sent=500_000)
    assert announced.traffic == used.traffic == 5000
    assert deserted.traffic == 8000


# --- an engine on another machine ----------------------------------------------------------------


def test_without_the_kernels_files_the_engine_is_asked(
    docker_bench: DockerBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(meters, "INTERFACES", tmp_path)
    monkeypatch.setattr(meters, "CGROUPS", tmp_path)
    spec, facts = docker_bench.create()
    before = docker_bench.runtime.observe()[spec.id].traffic_bytes
    docker_bench.use(facts)
    after = docker_bench.runtime.observe()[spec.id].traffic_bytes
    assert before is not None
    assert after is not None
    assert after - before > 256
    assert 0 < docker_bench.runtime.usage([spec.id])[spec.id].memory_mb < 96


def test_the_kernel_and_the_engine_tell_the_same_of_a_container(
    docker_bench: DockerBench,
) -> None:
    spec, _ = docker_bench.create()
    container_id = docker_bench.inspect(spec, "web")["Id"]
    stats = docker_bench.client.stats(container_id, stream=False)
    by_engine, by_kernel = meters.stats_load(stats), meters.cgroup_load(container_id)
    assert by_kernel is not None
    assert by_kernel.memory_mb == pytest.approx(by_engine.memory_mb, abs=2)
    assert by_kernel.cpu_seconds == pytest.approx(by_engine.cpu_seconds, abs=0.5)


def test_every_process_has_a_client_of_its_own() -> None:
    engine = Engine("", timeout=5)
    mine = engine.client()
    assert engine.client() is mine
    pid = os.fork()
    if pid == 0:
        os._exit(0 if engine.client() is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_writable_services_share_the_disk_where_a_limit_is_enforced(
    docker_bench: DockerBench,
) -> None:
    disk = docker_bench.runtime._disk
    disk._works, disk._driver = True, "overlay2"
    spec = replace(docker_bench.spec(), disk_mb=100)
    web, store = spec.services
    assert disk.options(spec, store) == {"size": "100M"}
    assert disk.options(spec, web) == {}
    disk._driver = "btrfs"
    assert disk.options(spec, store) == {"size": "102M"}, "the image's 2 MB are on top"
