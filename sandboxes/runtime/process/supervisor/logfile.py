"""Log files of services: limited in size, and read from a known position.

A position is the number of bytes since the beginning of the log, including dropped bytes. The first
line of the file shows how many bytes were dropped.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import IO

from sandboxes.runtime import LineCount
from sandboxes.runtime.process.state_dir import open_file

MAX_LOG_BYTES = 4 * 1024 * 1024
KEPT_LOG_BYTES = MAX_LOG_BYTES // 4
TRUNCATION_NOTICE = "({} bytes before this were dropped)\n"
MAX_PARTS = 3
"""A service that writes all the time can't keep its reader busy."""
FIRST_LINE = re.compile(rb"\((\d{1,20}) bytes before this were dropped\)\n")


def truncate_log(log: Path) -> None:
    """Keep only the last lines of a log that exceeds the limit; its writers append."""
    if log.stat().st_size <= MAX_LOG_BYTES:
        return
    with log.open("r+b") as file:
        dropped, start = _beginning(file)
        size = file.seek(-KEPT_LOG_BYTES, os.SEEK_END) + KEPT_LOG_BYTES
        end = file.read(2 * KEPT_LOG_BYTES)
        end = end[end.find(b"\n") + 1 :]
        dropped += size - start - len(end)
        file.seek(0)
        file.truncate()
        file.write(TRUNCATION_NOTICE.format(dropped).encode() + end)


def carry_count(log: Path, count: LineCount) -> LineCount:
    """Return the count including lines written since, up to a few times the limit of a log.

    Raises FileNotFoundError, PermissionError.
    """
    for _ in range(MAX_PARTS):
        text, position = read_from(log, int(count.read_to or 0))
        if not text:
            break
        count = count.further(io.BytesIO(text), str(position))
    return count


def read_from(log: Path, position: int) -> tuple[bytes, int]:
    """Return complete lines after a position, a few MB at most, and the position of their end."""
    with open_file(log) as file:
        dropped, start = _beginning(file)
        position = max(position, dropped)
        file.seek(start + position - dropped)
        text = file.read(MAX_LOG_BYTES)
    whole = text[: text.rfind(b"\n") + 1]
    return whole, position + len(whole)


def _beginning(file: IO[bytes]) -> tuple[int, int]:
    """Return the number of dropped bytes, and the position in the file of the first byte kept."""
    first = FIRST_LINE.match(file.readline(100))
    return (int(first[1]), first.end()) if first else (0, 0)
