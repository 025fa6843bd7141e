"""What there is to say about a blueprint's files: problems, and notes on what has no effect."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sandboxes.blueprints.compose.tree import KeyPath, Place
from sandboxes.lib.text import printable

MAX_FOUND = 500
"""Maximum number of problems, and of notes, in one report."""
MAX_LISTED = 10
MAX_SHOWN_LENGTH = 100
MAX_MESSAGE_LENGTH = 500


@dataclass(frozen=True)
class Problem:
    """One problem with a blueprint: its place, a message, and a remedy."""

    file: Path
    key: str
    """Path of the key, with dots: `services.db.mem_limit`; empty for the whole file."""
    message: str
    remedy: str
    line: int = 0
    """Line of the key, counted from 1; 0 for the whole file."""

    @property
    def place(self) -> str:
        """The file, with the line if there is one."""
        return _place(self.file, self.line)

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.key, self.message) if part)


@dataclass(frozen=True)
class Note:
    """Something in a blueprint that works differently in a sandbox, or has no effect there."""

    file: Path
    key: str
    message: str
    line: int = 0

    @property
    def place(self) -> str:
        """The file, with the line if there is one."""
        return _place(self.file, self.line)


class Malformed(Exception):
    """A value that can't be understood, with a remedy and the part of it that is meant."""

    def __init__(self, message: str, remedy: str, *parts: str | int) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.parts = parts


@dataclass
class Findings:
    """Collects problems and notes, each of them once, up to a number that can be read."""

    problems: dict[Problem, None] = field(default_factory=dict)
    notes: dict[Note, None] = field(default_factory=dict)
    unset_variables: dict[str, None] = field(default_factory=dict)
    unread_files: set[Path] = field(default_factory=set)
    """Files with a problem of their own: what they should define isn't missed as well."""

    def problem(self, place: Place, path: KeyPath, message: str, remedy: str) -> None:
        """Add a problem."""
        key, message, remedy = map(_readable, (dotted(path), message, remedy))
        found = Problem(place.file, key, message, remedy, place.line)
        if len(self.problems) < MAX_FOUND:
            self.problems.setdefault(found)

    def malformed(self, place: Place, path: KeyPath, error: Malformed) -> None:
        """Add the problem that an error describes."""
        self.problem(place, (*path, *error.parts), str(error), error.remedy)

    def note(self, place: Place, path: KeyPath, message: str) -> None:
        """Add a note."""
        key, message = _readable(dotted(path)), _readable(message)
        if len(self.notes) < MAX_FOUND:
            self.notes.setdefault(Note(place.file, key, message, place.line))

    def sorted_problems(self) -> list[Problem]:
        """Return all problems in the order of files and lines."""
        return sorted(self.problems, key=lambda one: (one.file, one.line))

    def sorted_notes(self) -> list[Note]:
        """Return all notes in the order of files and lines."""
        return sorted(self.notes, key=lambda one: (one.file, one.line))


def _place(file: Path, line: int) -> str:
    name = printable(str(file))
    return f"{name}:{line}" if line else name


def _readable(text: str) -> str:
    """Return a text that quotes files as pages and terminals can show it."""
    return printable(shortened(text, MAX_MESSAGE_LENGTH))


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as text: `services.db.ports.0`."""
    return ".".join(str(part) for part in path)


def listed(names: Collection[str]) -> str:
    """Return the first of these names as text: there may be many, or none."""
    shown = [shortened(name) for name in islice(names, MAX_LISTED)]
    if more := len(names) - len(shown):
        shown.append(f"and {more} more")
    return ", ".join(shown) or "none"


def shortened(text: str, length: int = MAX_SHOWN_LENGTH) -> str:
    """Return the beginning of a text that may be long."""
    return text if len(text) <= length else f"{text[:length]}…"


def sentence(text: str) -> str:
    """Return a text of another library with a single period at its end."""
    return f"{text.rstrip('. ')}."
