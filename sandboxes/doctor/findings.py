"""One thing that was looked at, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    FINE = "fine"
    WARNING = "warning"
    """It works, but not for long, not for all, or less well than it could."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """`remedy` is what to do about it; of what is fine there is none."""

    level: Level
    words: str
    remedy: str = ""


Findings = Iterable[Finding]


@dataclass(frozen=True)
class Check:
    """`look` gives any number of findings; it may take `seconds`, and may fail."""

    name: str
    look: Callable[[], Findings]
    seconds: float = 10.0


def fine(words: str) -> Finding:
    return Finding(Level.FINE, words)


def warning(words: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, words, remedy)


def wrong(words: str, remedy: str) -> Finding:
    return Finding(Level.WRONG, words, remedy)


def told(error: BaseException) -> str:
    """An error in one line, without what an address in it says of a password."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {re.sub(r'//[^/@ ]*@', '//•••@', text)}"[:300].rstrip(": .")
