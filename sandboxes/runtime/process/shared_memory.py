"""System V shared memory, which remains when the processes that created it are killed."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

LISTED = Path("/proc/sysvipc/shm")
IPC_RMID = 0


@dataclass(frozen=True)
class Segment:
    """A segment with its creator, creation time (Unix time) and number of attached processes."""

    id: int
    creator_pid: int
    user: int
    attached: int
    created_at: int


def segments() -> list[Segment]:
    """Return all segments of this machine; none where they can't be listed."""
    try:
        lines = LISTED.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [[int(number) for number in line.split()] for line in lines]
    return [
        Segment(r[1], creator_pid=r[4], user=r[9], attached=r[6], created_at=r[13]) for r in rows
    ]


def remove_segments(creator_pids: Collection[int], user: int, since: float) -> None:
    """Remove unused segments that these processes of a user created since `since`."""
    for one in segments():
        if (
            one.creator_pid in creator_pids
            and one.user == user
            and not one.attached
            and one.created_at >= since
        ):
            ctypes.CDLL(None).shmctl(one.id, IPC_RMID, None)
