"""The file that a service writes its log to: bounded, and read on from where it was read to.

A place in a log is a number of bytes since its beginning, dropped ones included. How many were
dropped, the first line of the file says.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

from sandboxes.runtime import LineCount

MAX_LOG_BYTES = 4 * 1024 * 1024
KEPT_LOG_BYTES = MAX_LOG_BYTES // 4
TRUNCATION_NOTICE = "({} bytes before this were dropped)\n"
FIRST_LINE = re.compile(rb"\((\d{1,20}) bytes before this were dropped\)\n")


def truncate_log(log: Path) -> None:
    """Keep the last lines of a log that has grown too long; its writers append."""
    if log.stat().st_size <= MAX_LOG_BYTES:
        return
    with log.open("r+b") as file:
        dropped, begins = _beginning(file)
        size = file.seek(-KEPT_LOG_BYTES, os.SEEK_END) + KEPT_LOG_BYTES
        end = file.read()
        end = end[end.find(b"\n") + 1 :]
        dropped += size - begins - len(end)
        file.seek(0)
        file.truncate()
        file.write(TRUNCATION_NOTICE.format(dropped).encode() + end)


def carry_count(log: Path, count: LineCount) -> LineCount:
    """The count with what was written since. Raises FileNotFoundError."""
    while (part := read_from(log, int(count.read_to or 0)))[0]:
        text, place = part
        count = count.further(text.splitlines(), str(place))
    return count


def read_from(log: Path, place: int) -> tuple[bytes, int]:
    """Whole lines that are there after a place, some MB at most, and the place where they end."""
    with log.open("rb") as file:
        dropped, begins = _beginning(file)
        place = max(place, dropped)
        file.seek(begins + place - dropped)
        text = file.read(MAX_LOG_BYTES)
    whole = text[: text.rfind(b"\n") + 1]
    return whole, place + len(whole)


def _beginning(file: IO[bytes]) -> tuple[int, int]:
    """How many bytes were dropped, and where in the file the first that was not is."""
    first = FIRST_LINE.match(file.readline(100))
    return (int(first[1]), first.end()) if first else (0, 0)
