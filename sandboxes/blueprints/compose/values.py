"""Single values of Compose files: sizes, durations, commands, ports, mounts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from sandboxes.blueprints.compose.findings import Malformed, sentence

MB = 1024**2
UNITS = {"": 1, "b": 1, "k": 1024, "m": MB, "g": 1024 * MB, "t": MB**2}
SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([bkmgt]?)(?:i?b)?", re.ASCII)
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h|d)", re.ASCII)
PORT = re.compile(
    r"(?:(?P<host>.*):)?(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?(?:/(?P<protocol>\w+))?", re.ASCII
)
MAX_PORTS = 50
LARGE_FLOAT = 1e21
"""From here on, Go writes floats with an exponent."""
WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]")

PORT_REMEDY = 'Write the port inside the container, for example "5432" or "8080:5432".'


def size_in_bytes(value: Any) -> int:
    """Return the bytes of `320m`, `1.5gb` or a number. Raises Malformed."""
    match = SIZE.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or not match:
        raise Malformed("Invalid size.", "Write a size, for example 320m or 1g.")
    return int(float(match[1]) * UNITS[match[2]])


def seconds(value: Any) -> float:
    """Return the seconds of `1m30s` or a number. Raises Malformed."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    text = str(value).strip()
    parts = DURATION.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        raise Malformed("Invalid duration.", "Write a duration, for example 30s or 1m30s.")
    return sum(float(amount) * SECONDS[unit] for amount, unit in parts)


def words(value: Any) -> list[str]:
    """Return a command as a list; a string is split like in a shell. Raises Malformed."""
    if isinstance(value, list):
        if any(isinstance(word, list | dict) or word is None for word in value):
            raise Malformed("A word of this command is not text.", "Write a list of words.")
        return [_text(word) for word in value]
    try:
        return shlex.split(_text(value))
    except ValueError as error:
        message = sentence(f"This command can't be split into words: {error}")
        raise Malformed(message, "Write the command as a list.") from error


def ports(value: Any) -> Iterator[tuple[int, str]]:
    """Yield the container ports and protocols of a short form. Raises Malformed."""
    match = PORT.fullmatch(str(value).strip())
    if isinstance(value, bool | float) or not match:
        raise Malformed("Invalid port.", PORT_REMEDY)
    first = int(match["first"])
    last = int(match["last"] or first)
    if not 0 < first <= last < 2**16:
        raise Malformed("Invalid port.", PORT_REMEDY)
    if last - first >= MAX_PORTS:
        raise Malformed(
            f"The range contains more than {MAX_PORTS} ports.",
            "List only the ports that developers use.",
        )
    for port in range(first, last + 1):
        yield port, (match["protocol"] or "tcp").lower()


def mount(value: Any) -> tuple[str, str, bool]:
    """Return source, target and whether a short mount is read-only. Raises Malformed.

    The source of an anonymous volume is empty.
    """
    text = str(value)
    if WINDOWS_PATH.match(text):
        raise Malformed("This is a path of Windows.", "Write a path relative to this file.")
    parts = text.split(":")
    if len(parts) == 1:
        return "", _absolute(parts[0]), False
    source, target, *rest = parts
    if len(rest) > 1 or not source:
        raise Malformed("Invalid mount.", "Write SOURCE:PATH or SOURCE:PATH:ro.")
    options = rest[0].split(",") if rest else []
    return source, _absolute(target), "ro" in options or "readonly" in options


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise Malformed(
            "The path in the container is not absolute.", "Write a path that begins with a slash."
        )
    return path.rstrip("/") or "/"


def tmpfs(value: Any) -> tuple[str, int | None]:
    """Return path and size in bytes, if there is one, of `/tmp:size=16m`. Raises Malformed."""
    path, _, options = str(value).partition(":")
    if not path.startswith("/"):
        raise Malformed("Invalid mount point.", 'Write a path and a size: "/tmp:size=16m".')
    for option in options.split(","):
        name, _, text = option.partition("=")
        if name == "size":
            return path, size_in_bytes(text)
    return path, None


def text_of(value: Any) -> str:
    """Return a scalar as text, as Compose writes it into the environment. Raises Malformed."""
    if isinstance(value, list | dict):
        raise Malformed("This is not text.", "Write text.")
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGE_FLOAT:
        return f"{value:.0f}"
    return "" if value is None else str(value)
