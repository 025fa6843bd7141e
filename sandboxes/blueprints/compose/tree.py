"""YAML data that remembers the file and line of each of its keys and items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]
"""Where a value is: the keys and indexes that lead to it."""


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1; 0 stands for the whole file."""

    file: Path
    line: int = 0


class Map(dict[str, Any]):
    """A mapping that knows its own place and those of its keys."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: dict[str, Place] = {}

    def put(self, key: str, value: Any, place: Place | None = None) -> None:
        """Set a key, which is at `place`."""
        self[key] = value
        self.places[key] = place or self.place

    def drop(self, key: str) -> None:
        """Remove a key if it is there."""
        self.pop(key, None)
        self.places.pop(key, None)

    def entries(self) -> Iterator[tuple[str, Any, Place]]:
        """Yield all keys with their values and places."""
        for key, value in self.items():
            yield key, value, self.places[key]

    def copy(self) -> Map:
        """Return a copy that shares the values."""
        copied = Map(self.place)
        for key, value, place in self.entries():
            copied.put(key, value, place)
        return copied


class Seq(list[Any]):
    """A list that knows its own place and those of its items."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: list[Place] = []

    def add(self, value: Any, place: Place | None = None) -> None:
        """Append an item, which is at `place`."""
        self.append(value)
        self.places.append(place or self.place)

    def entries(self) -> Iterator[tuple[Any, Place]]:
        """Yield all items with their places."""
        yield from zip(self, self.places, strict=True)


@dataclass(frozen=True)
class Replacing:
    """A value tagged `!override`: it replaces what it would be merged with."""

    value: Any


class Removed:
    """A value tagged `!reset`: it removes what it would be merged with."""


def size(tree: Any) -> tuple[int, int]:
    """Return the number of values in a tree, and the length of its texts."""
    values, text, pending = 0, 0, [tree]
    while pending:
        node = pending.pop()
        values += 1
        if isinstance(node, dict):
            pending += node.values()
        elif isinstance(node, list):
            pending += node
        elif isinstance(node, Replacing):
            pending.append(node.value)
        elif isinstance(node, str):
            text += len(node)
    return values, text


def place_of(tree: Map, path: Sequence[str | int]) -> Place:
    """Return the place of the deepest part of a path that exists."""
    place = tree.place
    node: Any = tree
    for part in path:
        if isinstance(node, Replacing):
            node = node.value
        if isinstance(node, Map) and part in node:
            place = node.places[str(part)]
        elif isinstance(node, Seq) and isinstance(part, int) and part < len(node):
            place = node.places[part]
        else:
            break
        node = node[part]
    return place
