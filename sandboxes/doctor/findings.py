"""One thing that was looked at, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "fine"
    WARNING = "warning"
    """It works, but not for long, not for all, or less well than it could."""
    ERROR = "wrong"


@dataclass(frozen=True)
class Finding:
    """`remedy` is what to do about it; of what is fine there is none."""

    level: Level
    message: str
    remedy: str = ""


Findings = Iterable[Finding]


@dataclass(frozen=True)
class Check:
    """`look` gives any number of findings; it may take `seconds`, and may fail."""

    name: str
    run: Callable[[], Findings]
    seconds: float = 10.0


def ok(message: str) -> Finding:
    return Finding(Level.OK, message)


def warning(message: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, message, remedy)


def error(message: str, remedy: str) -> Finding:
    return Finding(Level.ERROR, message, remedy)


def redacted(exc: BaseException) -> str:
    """An error in one line, without what an address in it says of a password."""
    text = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {re.sub(r'//[^/@ ]*@', '//•••@', text)}"[:300].rstrip(": .")
