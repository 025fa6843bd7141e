"""Kernel limits of a service's processes, which they can't raise."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sandboxes.runtime.process.state_dir import Service

MB = 1024 * 1024
NICE = 5
"""The portal's processes have priority when CPU time is short."""
OOM_SCORE_ADJ = "500"
"""When memory is short, the kernel kills sandboxes before other processes of this user."""
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


def prctl(option: int) -> None:
    """Set an option of this process to 1, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, 1, 0, 0, 0)


def limits(service: Service, disk_mb: int, user: int | None) -> dict[int, int]:
    """Return the kernel's limits for each process of a service."""
    found = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: service.memory_mb * MB,
        resource.RLIMIT_FSIZE: disk_mb * MB,
        resource.RLIMIT_NOFILE: service.open_files,
    }
    if user is not None:
        # This limit counts all processes of a user, so it needs a user per sandbox.
        found[resource.RLIMIT_NPROC] = service.pids
    return found


def make_preexec(service: Service, disk_mb: int, user: int | None) -> Callable[[], None]:
    """Return the function that a new process calls before it runs the service."""
    wanted = limits(service, disk_mb, user)

    def apply_limits() -> None:
        os.nice(NICE)
        prctl(PR_SET_NO_NEW_PRIVS)
        for what, limit in wanted.items():
            hardest = resource.getrlimit(what)[1]
            most = limit if hardest == resource.RLIM_INFINITY else min(limit, hardest)
            with suppress(ValueError, OSError):
                resource.setrlimit(what, (most, most))

    return apply_limits


def set_oom_score(pid: int) -> None:
    """Make the kernel kill this process first when memory is short."""
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(OOM_SCORE_ADJ)
