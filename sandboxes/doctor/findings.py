"""Checks and their findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "fine"
    WARNING = "warning"
    """It works, but not permanently, not for all users, or not optimally."""
    ERROR = "wrong"


@dataclass(frozen=True)
class Finding:
    """A result of a check; `remedy` says how to fix it, and is empty if it is ok."""

    level: Level
    message: str
    remedy: str = ""


Findings = Iterable[Finding]


@dataclass(frozen=True)
class Check:
    """A check; `run` yields findings, may take `seconds`, and may raise."""

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
    """Return an error in one line, without passwords in URLs."""
    text = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {re.sub(r'//[^/@ ]*@', '//•••@', text)}"[:300].rstrip(": .")
