"""Rules specific to the process runtime: ownership of processes, and their limits."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from sandboxes.runtime import (
    EngineRefused,
    HttpCheck,
    NotReady,
    ProcessSpec,
    SandboxSpec,
    ServiceState,
)
from sandboxes.runtime.process import create as process_create
from sandboxes.runtime.process import process_table, shared_memory
from sandboxes.runtime.process.ports import ReservedPorts
from sandboxes.runtime.process.state_dir import SandboxDir
from sandboxes.runtime.process.templates import ID_SEPARATOR, PreparationFailed, TemplateBuild
from tests.harness.runtimes import (
    TIME_LIMIT,
    ProcessHarness,
    command_of,
    ignore_step,
    with_service,
)
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.slow


def members(harness: ProcessHarness, spec: SandboxSpec) -> list[process_table.Process]:
    return process_table.members(harness.instance, harness.home).get(spec.id, [])


def directory(harness: ProcessHarness, spec: SandboxSpec) -> SandboxDir:
    return harness.runtime.home.sandbox(spec.id)


def commands(processes: list[process_table.Process]) -> str:
    return " ".join(map(command_of, processes))


def running(script: str) -> ProcessSpec:
    return ProcessSpec(["sh", "-c", script])


def test_processes_are_found_by_their_marks(
    process_harness: ProcessHarness,
) -> None:
    (spec, _), (other, _) = process_harness.create(), process_harness.create()
    found, others = members(process_harness, spec), members(process_harness, other)
    assert "process.supervisor" in commands(found)
    assert len(found) >= 3
    assert not {one.pid for one in found} & {one.pid for one in others}


def test_destroying_ends_hidden_processes(process_harness: ProcessHarness) -> None:
    # With its own session and parent, an empty environment and no file of the sandbox.
    hide = "(env -i setsid sleep 31337 >/dev/null 2>&1 &); cd /; exec sleep 300"
    spec = with_service(process_harness.spec(), "store", process=running(hide))
    process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    wait_for(lambda: "31337" in commands(members(process_harness, spec)), "it hides")
    before = members(process_harness, spec)
    process_harness.runtime.destroy(spec.id)
    alive = process_table.processes()
    assert [one for one in before if one.pid in alive] == []
    assert process_harness.remaining() == []


def test_after_its_processes_were_killed_a_sandbox_has_crashed_and_can_be_destroyed(
    process_harness: ProcessHarness,
) -> None:
    spec, _ = process_harness.create()
    assert process_table.end_all(lambda: members(process_harness, spec), 5)
    facts = process_harness.runtime.observe()[spec.id]
    assert {s.state for s in facts.services.values()} == {ServiceState.EXITED}
    assert not any(s.stopped_with_engine for s in facts.services.values())
    process_harness.runtime.destroy(spec.id)
    assert process_harness.remaining() == []


MAKE_SHARED_MEMORY = (
    "import ctypes, time; ctypes.CDLL(None).shmget(0, 4096, 0o1600); time.sleep(300)"
)


def test_shared_memory_of_killed_processes_is_removed(process_harness: ProcessHarness) -> None:
    sharing = ProcessSpec(["python", "-S", "-c", MAKE_SHARED_MEMORY])
    before = {one.id for one in shared_memory.segments()}
    spec = with_service(process_harness.spec(), "store", process=sharing)
    process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)

    def ours() -> list[int]:
        pid = directory(process_harness, spec).state()["services"]["store"]["pid"]
        return [one.id for one in shared_memory.segments() if one.creator_pid == pid]

    wait_for(ours, "it has made one")
    made = set(ours()) - before
    process_table.end_all(lambda: members(process_harness, spec), 5)
    process_harness.runtime.destroy(spec.id)
    assert made
    assert not made & {one.id for one in shared_memory.segments()}


def test_processes_that_outlived_their_supervisor_end_with_the_sandbox(
    process_harness: ProcessHarness,
) -> None:
    spec, _ = process_harness.create()
    pid = directory(process_harness, spec).supervisor()
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not process_harness.runtime.observe()[spec.id].alive, "it is dead")
    assert members(process_harness, spec)
    process_harness.runtime.destroy(spec.id)
    assert process_harness.remaining() == []


def test_after_a_reboot_a_sandbox_restarts_on_the_same_ports(
    process_harness: ProcessHarness,
) -> None:
    spec, made = process_harness.create()
    process_harness.runtime.execute(spec.id, "store", ["sh", "-c", "echo mine > kept"], 5)
    process_table.end_all(lambda: members(process_harness, spec), 5)
    state = directory(process_harness, spec).state()
    directory(process_harness, spec).write_state(state | {"boot": "another"})
    stopped = process_harness.runtime.observe()[spec.id]
    assert all(service.stopped_with_engine for service in stopped.services.values())
    assert process_harness.runtime.create(spec, ignore_step, TIME_LIMIT).services == made.services
    assert process_harness.runtime.execute(spec.id, "store", ["cat", "kept"], 5) == (0, "mine\n")


def test_ports_are_reserved_until_the_services_listen(
    process_harness: ProcessHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, free = process_create.start_supervisor, []

    def start_supervisor(sandbox_dir: SandboxDir, reserved: ReservedPorts) -> None:
        manifest = sandbox_dir.manifest()
        assert manifest
        numbers = [number for port in manifest.ports for number in (port.published, port.own)]
        with ReservedPorts() as others:
            free.extend(number for number in numbers if others.reserve("127.0.0.1", number))
        assert numbers
        start(sandbox_dir, reserved)

    monkeypatch.setattr(process_create, "start_supervisor", start_supervisor)
    process_harness.create()
    assert free == []


def test_services_start_after_the_portal_has_released_their_ports(
    process_harness: ProcessHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = ReservedPorts.release

    def release_late(reserved: ReservedPorts) -> None:
        time.sleep(0.7)
        release(reserved)

    monkeypatch.setattr(ReservedPorts, "release", release_late)
    _, facts = process_harness.create()
    process_harness.send_request(facts)


def test_a_restarted_sandbox_gets_another_port_if_its_own_is_taken(
    process_harness: ProcessHarness,
) -> None:
    spec, made = process_harness.create()
    process_table.end_all(lambda: members(process_harness, spec), 5)
    before = made.services["web"].ports[8080]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((before.host, before.port))
        other.listen()
        again = process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert again.services["web"].ports[8080] != before
    assert again.created_at == made.created_at
    process_harness.send_request(again)


def test_a_supervisor_that_cannot_start_is_reported_before_the_timeout(
    process_harness: ProcessHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_create, "SUPERVISOR", ("-c", "pass"))
    started = time.monotonic()
    with pytest.raises(NotReady, match=r"supervisor\.log"):
        process_harness.create()
    assert time.monotonic() - started < TIME_LIMIT / 2


def test_processes_without_a_directory_are_observed_and_ended(
    process_harness: ProcessHarness,
) -> None:
    spec, _ = process_harness.create()
    directory(process_harness, spec).path.rename(process_harness.home.parent / "away")
    assert process_harness.runtime.observe()[spec.id].services == {}
    process_harness.runtime.destroy(spec.id)
    assert process_harness.remaining() == []


def test_a_reused_pid_is_not_mistaken_for_the_supervisor(process_harness: ProcessHarness) -> None:
    spec, _ = process_harness.create()
    process_table.end_all(lambda: members(process_harness, spec), 5)
    with subprocess.Popen(["sleep", "300"]) as innocent:
        # The PID of the supervisor was reused.
        directory(process_harness, spec).lock.write_text(str(innocent.pid))
        process_harness.runtime.destroy(spec.id)
        assert innocent.poll() is None
        innocent.kill()


def test_a_shell_in_the_directory_is_not_killed(process_harness: ProcessHarness) -> None:
    spec, _ = process_harness.create()
    where = directory(process_harness, spec).work("store")
    with subprocess.Popen(["sleep", "300"], cwd=where) as visitor:
        process_harness.runtime.destroy(spec.id)
        assert visitor.poll() is None
        visitor.kill()


def test_another_portal_does_not_observe_the_sandbox(process_harness: ProcessHarness) -> None:
    spec, _ = process_harness.create()
    assert (
        process_table.members("another", process_harness.home.parent / "elsewhere").get(spec.id)
        is None
    )


MEMORY_HOGS = (
    "import subprocess, sys, time\n"
    "hog = 'x = bytearray(30 << 20); import time; time.sleep(300)'\n"
    "[subprocess.Popen([sys.executable, '-S', '-c', hog]) for _ in range(2)]\n"
    "time.sleep(300)"
)
"""Two processes, each within the kernel's limit of one process."""


def test_a_service_over_its_memory_limit_is_killed_with_a_reason(
    process_harness: ProcessHarness,
) -> None:
    hungry = ProcessSpec(["python", "-S", "-c", MEMORY_HOGS])
    spec = with_service(process_harness.spec(ready=[]), "store", process=hungry)
    process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    wait_for(lambda: not process_harness.runtime.observe()[spec.id].alive, "it is dead")
    store = process_harness.runtime.observe()[spec.id].services["store"]
    assert (store.exit_code, store.out_of_memory) == (137, True)
    assert "the limit is 48 MB in 24 processes" in process_harness.runtime.logs(spec.id, "store", 5)


def test_a_process_cannot_exceed_the_memory_limit_of_its_service(
    process_harness: ProcessHarness,
) -> None:
    greedy = ProcessSpec(["python", "-S", "-c", "x = bytearray(100 << 20)"])
    never = [HttpCheck("web", 8080, "/never")]
    spec = with_service(process_harness.spec(ready=never), "store", process=greedy)
    with pytest.raises(NotReady, match="store stopped with exit code 1"):
        process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert "MemoryError" in process_harness.runtime.logs(spec.id, "store", 5)


def test_a_file_cannot_exceed_the_disk_limit_of_its_sandbox(
    process_harness: ProcessHarness,
) -> None:
    grow = "head -c 20000000 /dev/zero > large; sleep 300"
    spec = with_service(process_harness.spec(disk_mb=1), "store", process=running(grow))
    process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    large = directory(process_harness, spec).work("store") / "large"
    wait_for(lambda: large.exists() and large.stat().st_size == 1 << 20, "it is written")


@pytest.mark.root
def test_under_root_each_sandbox_runs_as_its_own_user(process_harness: ProcessHarness) -> None:
    (one, _), (other, _) = process_harness.create(), process_harness.create()
    users = [
        process_harness.runtime.execute(s.id, "store", ["id", "-u"], 5)[1] for s in (one, other)
    ]
    assert len({"0\n", *users}) == 3
    peek = ["ls", str(directory(process_harness, other).work("store"))]
    assert process_harness.runtime.execute(one.id, "store", peek, 5)[0] != 0
    peek = ["cat", str(directory(process_harness, other).path / "record.json")]
    assert process_harness.runtime.execute(one.id, "store", peek, 5)[0] != 0


def test_a_service_without_a_process_section_is_rejected(
    process_harness: ProcessHarness,
) -> None:
    spec = with_service(process_harness.spec(), "store", process=None)
    with pytest.raises(EngineRefused, match="needs containers"):
        process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert process_harness.remaining() == []


def test_an_id_that_is_a_path_is_rejected(process_harness: ProcessHarness) -> None:
    with pytest.raises(EngineRefused):
        process_harness.runtime.create(process_harness.spec(id="../up"), ignore_step, TIME_LIMIT)
    process_harness.runtime.destroy("..")
    assert process_harness.home.exists()


def test_a_changed_blueprint_gets_a_new_template_and_used_ones_stay(
    process_harness: ProcessHarness,
) -> None:
    spec, _ = process_harness.create()
    before = process_harness.runtime.images(["tiny", "absent"])
    (process_harness.home.parent / "www" / "ok").write_text("ok, but other\n")
    wanted = TemplateBuild("tiny", [process_harness.home.parent / "www"])
    process_harness.runtime.templates.ensure([wanted], ignore_step)
    after = process_harness.runtime.images(["tiny"])
    versions = process_harness.home / "prepared" / "tiny"
    assert set(before) == {"tiny"} and before != after
    names = {name.partition(ID_SEPARATOR)[2] for name in (before["tiny"], after["tiny"])}
    assert names <= {path.name for path in versions.iterdir()}
    process_harness.runtime.destroy(spec.id)
    process_harness.runtime.templates.ensure([wanted], ignore_step)
    current = after["tiny"].partition(ID_SEPARATOR)[2]
    assert {path.name for path in versions.iterdir()} == {current, "current"}


def test_a_failed_template_build_is_reported_with_its_cause(
    process_harness: ProcessHarness,
) -> None:
    wanted = TemplateBuild("broken", [], command=["sh", "-c", "echo no flour; exit 3"])
    with pytest.raises(PreparationFailed, match="no flour"):
        process_harness.runtime.templates.ensure([wanted], ignore_step)
    assert list(process_harness.runtime.images(["broken", "tiny"])) == ["tiny"]


def test_requests_and_responses_are_forwarded_unchanged(process_harness: ProcessHarness) -> None:
    spec, facts = process_harness.create()
    where = facts.services["web"].ports[8080]
    big = process_harness.home / "prepared" / "tiny" / "current" / "files" / "www" / "big"
    big.write_bytes(content := os.urandom(3_000_000))
    fetched = subprocess.run(
        [sys.executable, "-c", FETCH, f"http://{where.host}:{where.port}/big"],
        capture_output=True,
        check=True,
    ).stdout
    assert fetched == content
    sent = process_harness.runtime.observe()[spec.id].traffic_bytes
    assert sent and sent > len(content)


FETCH = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())"


def test_only_chosen_ports_are_published(process_harness: ProcessHarness) -> None:
    free = range(28_431, 28_441)
    process_harness.runtime = process_harness.new_runtime(ports=free)
    _, facts = process_harness.create()
    assert facts.services["web"].ports[8080].port in free
