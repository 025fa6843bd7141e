"""The patterns of a `.dockerignore`, which select the files of a build context.

They mean what they mean to `docker build` (https://github.com/moby/patternmatcher), and are
matched by Rust's regular expressions, through pydantic: in time linear in the length of a path.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from pydantic_core import SchemaError, SchemaValidator, core_schema

from sandboxes.runtime.docker.images.errors import ImageError

MAX_PATTERNS = 1000
MAX_LENGTH = 64 * 1024
MAX_SHOWN_LENGTH = 100
GROUP = 40
"""Patterns that are compiled together: as many as Rust compiles at once."""

TOKEN = re.compile(r"\*\*/?|\*|\?|\\.|\[\^?(?:\\.|[^\]\\])+\]|.", re.DOTALL)
MEMBER = re.compile(r"\\?(.)(?:-\\?(.))?", re.DOTALL)
WILDCARD = {"*": "[^/]*", "?": "[^/]"}
WILDCARDS = re.compile(r"[*?\[\]\\]")

Matches = tuple[bool, ...]
"""Which groups of patterns match a path, or a directory above it."""


@dataclass(frozen=True)
class Pattern:
    """A line of the file; `restores` stands for an exclamation mark at its beginning."""

    text: str
    restores: bool

    @property
    def prefix(self) -> str:
        """What matching paths begin with, unless wildcards come first."""
        return self.text.removesuffix("/**").removesuffix("/*")


@dataclass(frozen=True)
class IgnoreFile:
    """The patterns of a file; the last one that matches a path, or a folder above it, decides."""

    patterns: Sequence[Pattern] = ()

    @cached_property
    def _groups(self) -> list[tuple[SchemaValidator, bool]]:
        """The patterns in their order, compiled, and whether they restore what they match."""
        found: list[tuple[SchemaValidator, bool]] = []
        for restores, group in groupby(self.patterns, key=lambda one: one.restores):
            texts = [one.text for one in group]
            for start in range(0, len(texts), GROUP):
                found += [(one, restores) for one in compiled(texts[start : start + GROUP])]
        return found

    @cached_property
    def _restored(self) -> list[str]:
        return [f"{one.prefix}/" for one in self.patterns if one.restores]

    @cached_property
    def _restores_anywhere(self) -> bool:
        return any(map(WILDCARDS.search, self._restored))

    @property
    def comparisons(self) -> int:
        """How many expressions a path is compared with."""
        return len(self._groups)

    def matches(self, path: str, parent: Matches = ()) -> Matches:
        """Return which groups match a path below the context. Raises ImageError."""
        above = parent or (False,) * len(self._groups)
        text = path.encode(errors="surrogateescape").decode(errors="replace")
        return tuple(
            inherited or pattern.isinstance_python(text)
            for inherited, (pattern, _) in zip(above, self._groups, strict=True)
        )

    def ignores(self, matches: Matches) -> bool:
        """Return whether a path with these matches stays out of the context."""
        found = (
            not restores
            for match, (_, restores) in zip(reversed(matches), reversed(self._groups), strict=True)
            if match
        )
        return next(found, False)

    def may_restore_below(self, directory: str) -> bool:
        """Return whether something below an ignored directory may be sent after all."""
        return self._restores_anywhere or any(
            one.startswith(f"{directory}/") for one in self._restored
        )


def read_ignore_file(file: Path, kept: Sequence[str]) -> IgnoreFile:
    """Return the patterns of a file, if there is one, then `kept` as such. Raises ImageError."""
    patterns = list(map(parse, read_lines(file)))
    if len(patterns) > MAX_PATTERNS or sum(len(one.text) for one in patterns) > MAX_LENGTH:
        raise ImageError(
            f"{file} has more than {MAX_PATTERNS} patterns, or {MAX_LENGTH // 1024} KB of them.",
            "Ignore folders instead of single files.",
        )
    escaped = (WILDCARDS.sub(r"\\\g<0>", name) for name in kept)
    ignore_file = IgnoreFile([*patterns, *(Pattern(name, restores=True) for name in escaped)])
    try:
        ignore_file.matches("")
    except ImageError as error:
        raise ImageError(f"{file}: {error.message}", error.remedy) from error
    return ignore_file


def read_lines(file: Path) -> list[str]:
    """Return the lines of a file without comments and empty ones; none if it doesn't exist."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    stripped = (line.strip() for line in lines if not line.startswith("#"))
    return [line for line in stripped if line]


def parse(line: str) -> Pattern:
    """Return the pattern of a line; `.`, which matches nothing, has no effect."""
    path = posixpath.normpath(line.removeprefix("!").strip() or ".")
    return Pattern(path.lstrip("/") or ".", restores=line.startswith("!"))


def compiled(patterns: Sequence[str]) -> list[SchemaValidator]:
    """Return validators of the texts that match one of the patterns. Raises ImageError."""
    try:
        return [_validator(patterns)]
    except SchemaError as error:
        if len(patterns) == 1:
            message = f"The pattern “{patterns[0][:MAX_SHOWN_LENGTH]}” is invalid."
            raise ImageError(message, "Correct its brackets, or shorten it.") from error
        middle = len(patterns) // 2  # Too large together, or one of them is invalid.
        return [*compiled(patterns[:middle]), *compiled(patterns[middle:])]


def _validator(patterns: Sequence[str]) -> SchemaValidator:
    pattern = rf"(?s)\A(?:{'|'.join(map(expression, patterns))})\z"
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def expression(pattern: str) -> str:
    """Return the regular expression that a pattern stands for."""
    ending = pattern.removeprefix("**")
    if ending != pattern and not ending.startswith("/") and not WILDCARDS.search(ending):
        return ".*" + literal(ending)
    parts = []
    for match in TOKEN.finditer(pattern):
        found = match[0]
        if found.startswith("**"):
            parts.append(".*" if match.end() == len(pattern) else "(?:.*/)?")
        elif found in WILDCARD:
            parts.append(WILDCARD[found])
        elif found.startswith("[") and found != "[":
            parts.append(_class(found[1:-1]))
        else:
            parts.append(found if found == "[" else literal(found[-1]))  # Unclosed: invalid.
    return "".join(parts)


def _class(members: str) -> str:
    inverted = members.startswith("^")
    ranges = (
        literal(first) + (f"-{literal(last)}" if last else "")
        for first, last in MEMBER.findall(members[inverted:])
    )
    return f"[{'^' if inverted else ''}{''.join(ranges)}]"


def literal(text: str) -> str:
    """Return an expression for exactly this text."""
    return "".join(one if one.isalnum() else rf"\x{{{ord(one):x}}}" for one in text)
