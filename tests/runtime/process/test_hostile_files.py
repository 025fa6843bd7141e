"""Services without isolation may replace files of their sandbox, but don't block the portal."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandboxes.runtime import EngineRefused, LineCount
from sandboxes.runtime.process import state_dir
from sandboxes.runtime.process.runtime import ProcessRuntime
from sandboxes.runtime.process.state_dir import Manifest, Service, StateDir
from tests.harness.runtimes import ProcessHarness

REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to an endless file": lambda path: path.symlink_to("/dev/zero"),
    "an unreadable file": lambda path: path.touch(mode=0),
    "deep JSON": lambda path: path.write_text("[" * 200_000),
    "a list": lambda path: path.write_text("[]"),
    "other JSON": lambda path: path.write_text('{"services": {"api": {"pid": []}}, "boot": 3}'),
    "a list of services": lambda path: path.write_text('{"services": [1], "created_at": "x"}'),
    "no text": lambda path: path.write_bytes(b"\xff\0" * 100),
}


def add_sandbox(home: Path, name: str) -> Path:
    service = Service("api", ["true"], {}, [], 64, 8, 64, "SIGTERM")
    manifest = Manifest("i", name, "2026-01-01T00:00:00+00:00", "127.0.0.1", 64, None, [service])
    directory = StateDir(home).sandbox(name)
    directory.create(None)
    directory.write_manifest(manifest)
    entry = {"pid": 0, "exit_code": None, "out_of_memory": False}
    directory.write_state({"boot": "", "services": {"api": entry}})
    return directory.path


@pytest.mark.parametrize("name", ["record.json", "state.json", "lock", "traffic", "logs/api.log"])
def test_replaced_files_of_one_sandbox_block_nothing(tmp_path: Path, name: str) -> None:
    runtime = ProcessRuntime("hostile", tmp_path)
    began = time.monotonic()
    for number, replace in enumerate(REPLACEMENTS.values()):
        path = add_sandbox(tmp_path, f"bad-{number}") / name
        path.unlink(missing_ok=True)
        replace(path)
    add_sandbox(tmp_path, "good")
    found = runtime.observe(sizes=True)
    assert found["good"].services and found["good"].files is not None
    for sandbox_id in found:
        if name != "record.json":
            runtime.logs(sandbox_id, "api", 10)
        runtime.count_lines({sandbox_id: LineCount("api", "x")})
        runtime.destroy(sandbox_id)
    assert runtime.observe() == {}
    assert time.monotonic() - began < 20


def test_a_large_log_is_counted_in_little_memory_and_time(tmp_path: Path) -> None:
    log = add_sandbox(tmp_path, "chatty") / "logs" / "api.log"
    log.write_bytes(b"GET /\n" * 1_000_000)
    began = time.process_time()
    counts = {"chatty": LineCount("api", "[A-Z]+ /")}
    counted = ProcessRuntime("hostile", tmp_path).count_lines(counts)
    assert counted["chatty"].lines == 1_000_000
    assert time.process_time() - began < 5


def test_a_lock_that_is_never_released_fails_launches_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_dir, "LOCK_TIMEOUT_SECONDS", 0.1)
    home = StateDir(tmp_path)
    with home.lock(), pytest.raises(EngineRefused, match="locked"), home.lock():
        raise AssertionError


def test_an_existing_lock_file_is_closed_to_others(tmp_path: Path) -> None:
    turn = tmp_path / ".turn"
    turn.touch(mode=0o666)
    with StateDir(tmp_path).lock():
        assert stat.S_IMODE(turn.stat().st_mode) == 0o600


LOCK = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@pytest.mark.slow
@pytest.mark.root
def test_a_sandbox_reaches_no_lock_and_no_log_of_others(process_harness: ProcessHarness) -> None:
    (spec, _), (neighbour, _) = process_harness.create(), process_harness.create()
    runtime, home = process_harness.runtime, process_harness.home
    own, other = home / spec.id, home / neighbour.id

    def can(script: str, path: Path) -> bool:
        command = ["python", "-I", "-S", "-c", script, str(path)]
        return runtime.execute(spec.id, "store", command, 10)[0] == 0

    assert can(LOCK, Path("/etc/hostname"))
    closed = [home / ".turn"]
    closed += [path for top in (own, other) for path in top.rglob("*") if path.is_file()]
    assert {"web.log", "record.json", "lock"} <= {path.name for path in closed}
    ours = own / "work"
    assert [path for path in closed if ours not in path.parents and can(LOCK, path)] == []
    with (home / ".turn").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert json.loads((other / "record.json").read_text())["sandbox"] == neighbour.id


@pytest.mark.slow
def test_a_sandbox_with_deep_directories_is_measured_and_removed(
    process_harness: ProcessHarness,
) -> None:
    spec, _ = process_harness.create()
    nest = "i=0; while [ $i -lt 1500 ]; do mkdir d; cd d; i=$((i+1)); done"
    assert process_harness.runtime.execute(spec.id, "store", ["sh", "-c", nest], 30)[0] == 0
    facts = process_harness.runtime.observe(sizes=True)[spec.id]
    assert facts.alive and facts.files is not None and facts.files > 1500
    process_harness.runtime.destroy(spec.id)
    assert process_harness.remaining() == []
