"""The processes of this machine: whose they are, and how to end them for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

INSTANCE = "SANDBOXPORTAL_INSTANCE"
SANDBOX = "SANDBOXPORTAL_SANDBOX"
"""Marks in the environment of every process of a sandbox, inherited by what it starts."""

PROC = Path("/proc")
MB = 1024 * 1024
POLL_INTERVAL_SECONDS = 0.01


@dataclass(frozen=True)
class Process:
    """A process as it was seen; number and start together are never given out again."""

    pid: int
    parent: int
    started: str
    cpu_seconds: float
    """Its own and that of those of its children that have ended."""
    memory_mb: float
    """What it does not share with others."""


def processes() -> dict[int, Process]:
    """All that live and can be seen, by number."""
    read = _from_proc if PROC.joinpath("self/stat").exists() else _from_ps
    return {process.pid: process for process in read()}


def members(instance: str, home: Path) -> dict[str, list[Process]]:
    """The living processes of each of an instance's sandboxes, the supervisor among them."""
    everything = processes()
    owner: dict[int, str] = {}
    for pid, process in everything.items():
        found = _marked(pid, instance) or _at_home(pid, home)
        if found and pid != os.getpid():
            owner[process.pid] = found
    for pid in everything:
        if inherited := _inherited(pid, everything, owner):
            owner[pid] = inherited
    sandboxes: dict[str, list[Process]] = {}
    for pid, sandbox in owner.items():
        sandboxes.setdefault(sandbox, []).append(everything[pid])
    return sandboxes


def descendants(of: int, everything: Mapping[int, Process]) -> list[Process]:
    """A process and all that it started, directly or not."""
    found = [everything[of]] if of in everything else []
    for process in found:
        found += [one for one in everything.values() if one.parent == process.pid]
    return found


def send_signal(process: Process, number: signal.Signals) -> None:
    """Signal this very process; it is no error if it has ended."""
    if sys.platform == "linux":
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(process.pid)
            try:
                if _started(process.pid) == process.started:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
    elif (seen := processes().get(process.pid)) and seen.started == process.started:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def end_all(look: Callable[[], Iterable[Process]], seconds: float) -> bool:
    """Kill until a look finds nothing; whether that was reached in time."""
    ends = time.monotonic() + seconds
    while living := list(look()):
        if time.monotonic() > ends:
            return False
        for process in living:
            send_signal(process, signal.SIGKILL)
        time.sleep(POLL_INTERVAL_SECONDS)
    return True


def boot_id() -> str:
    """What changes when everything here was ended from outside: a start of machine or container."""
    with suppress(OSError, IndexError):
        return f"{(PROC / 'sys/kernel/random/boot_id').read_text().strip()} {_started(1)}"
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(["/usr/sbin/sysctl", "-n", "kern.boottime"], text=True)
    return ""


def _marked(pid: int, instance: str) -> str:
    """The sandbox that the environment of a process names, if it is one of the instance's."""
    try:
        environment = _environment(pid)
    except OSError:
        return ""
    values = dict(item.split("=", 1) for item in environment if item.startswith("SANDBOXPORTAL_"))
    return values.get(SANDBOX, "") if values.get(INSTANCE) == instance else ""


def _at_home(pid: int, home: Path) -> str:
    """The sandbox in whose directory a process works and writes its errors.

    PostgreSQL's processes write their title over their environment, and lead sessions of their own.
    Somebody's shell that stands in the directory writes to a terminal.
    """
    try:
        works = (PROC / str(pid) / "cwd").readlink()
        writes = (PROC / str(pid) / "fd/2").readlink()
    except OSError:
        return ""
    if home not in works.parents or home not in writes.parents:
        return ""
    sandbox = works.relative_to(home).parts[0]
    return sandbox if writes.relative_to(home).parts[0] == sandbox else ""


def _inherited(pid: int, everything: Mapping[int, Process], owner: Mapping[int, str]) -> str:
    """The sandbox of the nearest ancestor that has one."""
    seen = set()
    while pid in everything and pid not in seen:
        if pid in owner:
            return owner[pid]
        seen.add(pid)
        pid = everything[pid].parent
    return ""


def _environment(pid: int) -> list[str]:
    if PROC.joinpath("self/environ").exists():
        return (PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    return _ps("-Eww", "-o", "command=", "-p", str(pid)).split()


def _from_proc() -> Iterator[Process]:
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in os.scandir(PROC):
        if not entry.name.isdigit():
            continue
        try:
            stat = _stat(int(entry.name))
            resident, shared = (PROC / entry.name / "statm").read_text().split()[1:3]
        except OSError:
            continue
        if stat[0] not in "ZX":
            yield Process(
                pid=int(entry.name),
                parent=int(stat[1]),
                started=stat[19],
                cpu_seconds=sum(map(int, stat[11:15])) / tick,
                memory_mb=(int(resident) - int(shared)) * page / MB,
            )


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything: the state is the first."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _started(pid: int) -> str:
    try:
        return _stat(pid)[19]
    except (OSError, IndexError):
        return ""


def _from_ps() -> Iterator[Process]:
    """Where there is no /proc, as on macOS."""
    for line in _ps("-ax", "-o", "pid=,ppid=,stat=,rss=,time=,lstart=").splitlines():
        pid, parent, state, rss, cpu, started = line.split(None, 5)
        if not state.startswith("Z"):
            minutes, _, seconds = cpu.rpartition(":")
            spent = 60 * float(minutes.rpartition(":")[2] or 0) + float(seconds)
            yield Process(int(pid), int(parent), started, spent, int(rss) / 1024)


def _ps(*arguments: str) -> str:
    done = subprocess.run(
        ["/bin/ps", *arguments], capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout
