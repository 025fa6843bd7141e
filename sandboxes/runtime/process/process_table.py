"""Processes of this machine: which sandbox they belong to, and how to end them reliably."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

INSTANCE = "SANDBOXPORTAL_INSTANCE"
SANDBOX = "SANDBOXPORTAL_SANDBOX"
"""Variables in the environment of every process of a sandbox, inherited by its children."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MB = 1024 * 1024
POLL_INTERVAL_SECONDS = 0.01
ATTRIBUTES = ("ppid", "status", "cpu_times", "memory_info")
ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
STANDARD_ERROR = 2


@dataclass(frozen=True)
class Process:
    """A process as observed. The handle never reaches a later process that reuses the PID."""

    pid: int
    parent: int
    cpu_seconds: float
    """CPU time of the process and of its children that have ended."""
    memory_mb: float
    """Memory that is not shared with other processes."""
    handle: psutil.Process


def processes() -> dict[int, Process]:
    """Return all running processes that can be observed, by PID."""
    found = {}
    for handle in psutil.process_iter(ATTRIBUTES):
        info = handle.info
        if info["status"] in ENDED or info["cpu_times"] is None or info["memory_info"] is None:
            continue
        times, memory = info["cpu_times"], info["memory_info"]
        found[handle.pid] = Process(
            pid=handle.pid,
            parent=info["ppid"],
            cpu_seconds=times.user + times.system + times.children_user + times.children_system,
            memory_mb=(memory.rss - getattr(memory, "shared", 0)) / MB,
            handle=handle,
        )
    return found


def members(instance: str, home: Path) -> dict[str, list[Process]]:
    """Return the running processes of each sandbox of an instance, its supervisor included."""
    everything = processes()
    owner: dict[int, str] = {}
    for pid, process in everything.items():
        found = _sandbox_by_environment(process, instance) or _sandbox_by_directory(process, home)
        if found and pid != os.getpid():
            owner[process.pid] = found
    for pid in everything:
        if inherited := _sandbox_by_ancestor(pid, everything, owner):
            owner[pid] = inherited
    sandboxes: dict[str, list[Process]] = {}
    for pid, sandbox in owner.items():
        sandboxes.setdefault(sandbox, []).append(everything[pid])
    return sandboxes


def descendants(of: int, everything: Mapping[int, Process]) -> list[Process]:
    """Return a process and everything that it started, directly or not."""
    found = [everything[of]] if of in everything else []
    for process in found:
        found += [one for one in everything.values() if one.parent == process.pid]
    return found


def send_signal(process: Process, signal_number: signal.Signals) -> None:
    """Signal this process. Does nothing if it has ended, even when its PID was reused."""
    with suppress(psutil.NoSuchProcess):
        process.handle.send_signal(signal_number)


def end_all(find: Callable[[], Iterable[Process]], seconds: float) -> bool:
    """Kill until `find` returns no process; return whether that took less than `seconds`."""
    deadline = time.monotonic() + seconds
    while living := list(find()):
        if time.monotonic() > deadline:
            return False
        for process in living:
            send_signal(process, signal.SIGKILL)
        time.sleep(POLL_INTERVAL_SECONDS)
    return True


def boot_id() -> str:
    """Return a text that changes when the machine, or the container around it, starts again."""
    with suppress(OSError, IndexError):
        # The clock may be set, so the start of PID 1 is read in ticks since boot.
        first = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
        return f"{BOOT_ID.read_text().strip()} {first}"
    return str(psutil.boot_time())


def _sandbox_by_environment(process: Process, instance: str) -> str:
    """Return the sandbox that the environment of a process names, if the instance owns it."""
    try:
        environment = process.handle.environ()
    except (psutil.Error, OSError):
        return ""
    return environment.get(SANDBOX, "") if environment.get(INSTANCE) == instance else ""


def _sandbox_by_directory(process: Process, home: Path) -> str:
    """Return the sandbox in whose directory a process works and writes its errors.

    PostgreSQL's processes write their title over their environment, and lead sessions of their own.
    An operator's shell in the directory doesn't count: it writes to a terminal.
    """
    try:
        cwd = Path(process.handle.cwd())
        if home not in cwd.parents:
            return ""
        errors = [file.path for file in process.handle.open_files() if file.fd == STANDARD_ERROR]
    except (psutil.Error, OSError):
        return ""
    stderr = Path(*errors[:1])
    if home not in stderr.parents:
        return ""
    sandbox = cwd.relative_to(home).parts[0]
    return sandbox if stderr.relative_to(home).parts[0] == sandbox else ""


def _sandbox_by_ancestor(
    pid: int, everything: Mapping[int, Process], owner: Mapping[int, str]
) -> str:
    """Return the sandbox of the nearest ancestor that belongs to one."""
    seen = set()
    while pid in everything and pid not in seen:
        if pid in owner:
            return owner[pid]
        seen.add(pid)
        pid = everything[pid].parent
    return ""
