"""Shared memory of System V, which outlives the processes that made it when they are killed."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

LISTED = Path("/proc/sysvipc/shm")
IPC_RMID = 0


@dataclass(frozen=True)
class Segment:
    """A segment, who made it and when (seconds since 1970), and how many use it."""

    id: int
    maker: int
    user: int
    users: int
    made_at: int


def segments() -> list[Segment]:
    """All of this machine; none where that can't be told."""
    try:
        lines = LISTED.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [[int(number) for number in line.split()] for line in lines]
    return [Segment(r[1], maker=r[4], user=r[9], users=r[6], made_at=r[13]) for r in rows]


def remove_segments(makers: Collection[int], user: int, since: float) -> None:
    """Remove what these processes of a user made since then and nobody uses any more."""
    for one in segments():
        if one.maker in makers and one.user == user and not one.users and one.made_at >= since:
            ctypes.CDLL(None).shmctl(one.id, IPC_RMID, None)
