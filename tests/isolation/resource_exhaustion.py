"""Using up all resources of a sandbox while another sandbox and the portal are timed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandboxes.runtime import RuntimeFailure
from tests.bench.http_client import HttpClient
from tests.harness.runtimes import DockerHarness

SECONDS = 5
MAX_MB = 1024
"""Limit of what is written to the disk, which is shared with the rest of the machine."""

CPU = """
import os, time
for _ in range(20):
    if not os.fork():
        ends = time.time() + %(seconds)d
        while time.time() < ends: pass
        os._exit(0)
time.sleep(%(seconds)d)
"""
PROCESSES = """
import os, signal, time
ends, failed = time.time() + %(seconds)d, 0
while time.time() < ends:
    try:
        if not os.fork():
            time.sleep(0.5)
            os._exit(0)
    except OSError:
        failed += 1
        time.sleep(0.001)
        while True:
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]: break
            except OSError: break
print(f"fork failed {failed} times")
"""
MEMORY = """
taken = []
while True: taken.append(bytearray(b"x" * (1 << 20)))
"""
DISK = """
import os, time
ends, written = time.time() + %(seconds)d, 0
try:
    while time.time() < ends and written < %(most)d:
        with open(f"/var/tmp/{written}", "wb") as file:
            for _ in range(32):
                file.write(bytes(1 << 20)); written += 1
    print(f"{written} MB in files of 32 MB")
except OSError as error:
    print(f"{error.strerror} after {written} MB")
"""
FILES = """
import os, time
ends, created = time.time() + %(seconds)d, 0
try:
    while time.time() < ends:
        os.close(os.open(f"/var/tmp/e{created}", os.O_CREAT)); created += 1
    print(f"{created} empty files")
except OSError as error:
    print(f"{error.strerror} after {created} files")
"""
DIRECTORIES = """
import os, time
ends, created = time.time() + %(seconds)d, 0
try:
    while time.time() < ends:
        if not created %% 5000:
            os.chdir("/var/tmp"); os.mkdir(f"d{created}"); os.chdir(f"d{created}")
        with open("x", "w") as file: file.write("x")
        os.mkdir("d"); os.chdir("d"); created += 1
    print(f"{created} directories, up to 5000 within each other, with small files")
except OSError as error:
    print(f"{error.strerror} after {created} directories")
"""
LOG = """
import time
open("/tmp/flood", "w").close()
time.sleep(%(seconds)d)
"""
PROGRAMS = {
    "nothing (for comparison)": "import time; time.sleep(%(seconds)d)",
    "CPU: 20 busy processes": CPU,
    "processes: endless forks": PROCESSES,
    "inodes: empty files": FILES,
    "inodes: nested directories": DIRECTORIES,
    "disk: large files": DISK,
    "log: continuous output": LOG,
    "memory: until the OOM kill": MEMORY,
}


@dataclass
class ResponseTimes:
    """Response times in seconds, and the number of requests that failed."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0


@contextmanager
def measuring(client: HttpClient, path: str) -> Iterator[ResponseTimes]:
    """Measure the response times of a path for the duration of the block."""
    times, stopped = ResponseTimes(), threading.Event()

    def send_requests() -> None:
        while not stopped.wait(0.05):
            try:
                response = client.get(path)
                times.seconds.append(response.seconds)
                times.failures += response.status != 200
            except OSError:
                times.failures += 1

    thread = threading.Thread(target=send_requests)
    thread.start()
    try:
        yield times
    finally:
        stopped.set()
        thread.join()


@dataclass(frozen=True)
class ExhaustionResult:
    """The outcome of using up one resource, and the response times meanwhile."""

    resource: str
    outcome: str
    other_sandbox: ResponseTimes
    portal: ResponseTimes


def exhaust(
    harness: DockerHarness, sandbox_id: str, resource: str, other: HttpClient, portal: HttpClient
) -> ExhaustionResult:
    program = PROGRAMS[resource]
    if "%" in program:
        program %= {"seconds": SECONDS, "most": MAX_MB}
    with measuring(other, "/v1/plans") as theirs, measuring(portal, "/healthz") as ours:
        time.sleep(0.2)
        outcome = _outcome(
            lambda: harness.runtime.execute(sandbox_id, "api", ["python3", "-c", program], 60)
        )
    check = CHECKS.get(resource)
    effect = check(harness, sandbox_id) if check else ""
    return ExhaustionResult(resource, "; ".join(filter(None, [outcome, effect])), theirs, ours)


def _outcome(execute: Callable[[], tuple[int, str]]) -> str:
    """Return the last line of the program's output, or its exit code, or the runtime's error."""
    try:
        code, output = execute()
    except RuntimeFailure as error:
        return str(error)
    return output.strip().splitlines()[-1] if output.strip() else f"ended with exit code {code}"


def log_size(harness: DockerHarness, sandbox_id: str) -> str:
    path = Path(harness.client.inspect_container(f"{sandbox_id}-api-1")["LogPath"])
    kept = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    return f"the engine keeps {kept / 1e6:.1f} MB of the log"


def disk_usage(harness: DockerHarness, sandbox_id: str) -> str:
    used: Any = harness.runtime.observe(sizes=True)[sandbox_id].disk_mb
    return f"a sweep measures {used:.0f} MB"


def file_count(harness: DockerHarness, sandbox_id: str) -> str:
    facts = harness.runtime.observe(sizes=True)[sandbox_id]
    if facts.files is None:
        return "files can't be counted here"
    return f"a sweep counts {facts.files} files in {facts.disk_mb or 0:.0f} MB"


def survival(harness: DockerHarness, sandbox_id: str) -> str:
    facts = harness.runtime.observe().get(sandbox_id)
    if facts and facts.alive:
        return "the sandbox keeps running"
    return "the kernel killed the sandbox, and a sweep reports it"


CHECKS: dict[str, Callable[[DockerHarness, str], str]] = {
    "log: continuous output": log_size,
    "disk: large files": disk_usage,
    "inodes: empty files": file_count,
    "inodes: nested directories": file_count,
    "memory: until the OOM kill": survival,
}
