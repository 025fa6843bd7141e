"""Taking all that a sandbox gets, and more, while its neighbour and the portal are timed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandboxes.runtime import RuntimeFailure
from tests.bench.http_client import HttpClient
from tests.runtimes import DockerBench

SECONDS = 5
MOST_MB = 1024
"""What is written at most where nothing stops it: the disk is other people's, too."""

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
ends, refused = time.time() + %(seconds)d, 0
while time.time() < ends:
    try:
        if not os.fork():
            time.sleep(0.5)
            os._exit(0)
    except OSError:
        refused += 1
        time.sleep(0.001)
        while True:
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]: break
            except OSError: break
print(f"refused {refused} times")
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
ends, made = time.time() + %(seconds)d, 0
try:
    while time.time() < ends:
        os.close(os.open(f"/var/tmp/e{made}", os.O_CREAT)); made += 1
    print(f"{made} empty files")
except OSError as error:
    print(f"{error.strerror} after {made} files")
"""
LOG = """
import time
open("/tmp/flood", "w").close()
time.sleep(%(seconds)d)
"""
HOGS = {
    "nothing": "import time; time.sleep(%(seconds)d)",
    "the CPU: 20 processes that count": CPU,
    "processes: forking for ever": PROCESSES,
    "files without content": FILES,
    "the disk: many files": DISK,
    "the log: writing without pause": LOG,
    "memory: until it is killed": MEMORY,
}


@dataclass
class Timed:
    """How long somebody's answers took, in seconds, and how many there were none of."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0


@contextmanager
def timed(caller: HttpClient, path: str) -> Iterator[Timed]:
    """Asks again and again while the block goes on."""
    found, done = Timed(), threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            try:
                answer = caller.get(path)
                found.seconds.append(answer.seconds)
                found.failures += answer.status != 200
            except OSError:
                found.failures += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield found
    finally:
        done.set()
        asking.join()


@dataclass(frozen=True)
class Hogged:
    """What came of taking all of one thing."""

    what: str
    outcome: str
    neighbour: Timed
    portal: Timed


def hog(
    bench: DockerBench, sandbox_id: str, what: str, neighbour: HttpClient, portal: HttpClient
) -> Hogged:
    program = (
        HOGS[what] % {"seconds": SECONDS, "most": MOST_MB} if "%" in HOGS[what] else HOGS[what]
    )
    with timed(neighbour, "/v1/plans") as theirs, timed(portal, "/healthz") as ours:
        time.sleep(0.2)
        outcome = _outcome(
            lambda: bench.runtime.execute(sandbox_id, "api", ["python3", "-c", program], 60)
        )
    after = AFTER[what](bench, sandbox_id) if what in AFTER else ""
    return Hogged(what, "; ".join(filter(None, [outcome, after])), theirs, ours)


def _outcome(act: Callable[[], tuple[int, str]]) -> str:
    try:
        code, output = act()
    except RuntimeFailure as error:
        return str(error)
    return output.strip().splitlines()[-1] if output.strip() else f"ended with exit code {code}"


def log_size(bench: DockerBench, sandbox_id: str) -> str:
    """What the engine keeps of what was written."""
    path = Path(bench.client.inspect_container(f"{sandbox_id}-api-1")["LogPath"])
    kept = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    return f"{kept / 1e6:.1f} MB are kept of it"


def disk_use(bench: DockerBench, sandbox_id: str) -> str:
    used: Any = bench.runtime.observe(sizes=True)[sandbox_id].disk_mb
    return f"a sweep sees {used:.0f} MB"


def memory_left(bench: DockerBench, sandbox_id: str) -> str:
    facts = bench.runtime.observe().get(sandbox_id)
    alive = "goes on" if facts and facts.alive else "was ended by the kernel, and a sweep says so"
    return f"the sandbox {alive}"


AFTER: dict[str, Callable[[DockerBench, str], str]] = {
    "the log: writing without pause": log_size,
    "the disk: many files": disk_use,
    "memory: until it is killed": memory_left,
}


def inodes_left(folder: str) -> float:
    """The share of the file system's inodes that is free; 1 where it counts none."""
    seen = os.statvfs(folder)
    return seen.f_favail / seen.f_files if seen.f_files else 1.0
