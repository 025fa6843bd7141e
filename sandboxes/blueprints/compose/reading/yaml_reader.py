"""Read YAML as Compose does, within bounds of time and memory.

Plain scalars follow YAML 1.2 (`yes` and `22:22` are text), as in the reference implementation.
Events of libyaml are turned into a tree here, not by PyYAML's composer, so that nesting and the
expansion of aliases are counted while they happen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from sandboxes.blueprints.compose.budget import Budget, located
from sandboxes.blueprints.compose.findings import Malformed, sentence
from sandboxes.blueprints.compose.tree import Map, Place, Removed, Replacing, Seq

MAX_DEPTH = 40
MAX_KEY_LENGTH = 300
"""Keys are repeated in messages, as parts of paths."""

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Event = Any
"""An event of PyYAML, whose types lack the attributes that they have."""

NULL = re.compile(r"~|null|Null|NULL|")
BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
OCTAL = re.compile(r"[-+]?0o?([0-7]{1,12})")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,12}")
DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}\.[0-9]{0,18}|[0-9]{1,18}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?"
)
TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
COLLECTION_TAGS = frozenset({"!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
RESET, OVERRIDE = "!reset", "!override"
MERGE_KEY = "<<"


def read_yaml(text: str, file: Path, budget: Budget | None = None) -> list[Any]:
    """Return the documents of a file. Raises InvalidYaml with the place of the first mistake.

    Raises TooLarge if the budget doesn't suffice.
    """
    reader = _Reader(file, budget or Budget())
    try:
        return list(reader.documents(yaml.parse(text, Loader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise InvalidYaml(Place(file, line), sentence(f"Invalid YAML: {error.problem}")) from error
    except yaml.YAMLError as error:
        raise InvalidYaml(Place(file), "Invalid YAML: unexpected characters.") from error


class InvalidYaml(Malformed):
    """A file that is not YAML, or that exceeds the bounds."""

    def __init__(self, place: Place, message: str, remedy: str = "Correct that line.") -> None:
        super().__init__(message, remedy)
        self.place = place


@dataclass
class _Anchor:
    """A value with a name: its size, its depth, and whether it is complete."""

    value: Any = None
    values: int = 0
    text: int = 0
    height: int = 0
    complete: bool = False


@dataclass
class _Reader:
    file: Path
    budget: Budget
    deepest: int = 0
    anchors: dict[str, _Anchor] = field(default_factory=dict)

    def documents(self, events: Iterator[Event]) -> Iterator[Any]:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors = {}
                yield self._value(next(events), events, 0)

    def _place(self, event: Event) -> Place:
        return Place(self.file, event.start_mark.line + 1)

    def _count(self, event: Event, values: int, text: int) -> None:
        with located(self._place(event)):
            self.budget.read(values, text)

    def _check_depth(self, event: Event, depth: int) -> None:
        self.deepest = max(self.deepest, depth)
        if depth > MAX_DEPTH:
            raise InvalidYaml(
                self._place(event),
                f"Values are nested more than {MAX_DEPTH} levels deep.",
                "Nest them less deeply.",
            )

    def _value(self, event: Event, events: Iterator[Event], depth: int) -> Any:
        self._check_depth(event, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        values, text = self.budget.values, self.budget.text
        deepest, self.deepest = self.deepest, depth
        self._count(event, 1, len(event.value) if isinstance(event, yaml.ScalarEvent) else 0)
        anchor = _Anchor()
        if event.anchor:
            self.anchors[event.anchor] = anchor
        tag = event.tag
        value: Any
        if isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(event, events, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, events, depth)
        else:
            value = self._scalar(event)
        if tag == RESET:
            value = Removed()
        elif tag == OVERRIDE:
            value = Replacing(value)
        elif not isinstance(event, yaml.ScalarEvent) and tag and tag not in COLLECTION_TAGS:
            raise self._unknown_tag(event)
        anchor.value, anchor.complete = value, True
        anchor.values, anchor.text = self.budget.values - values, self.budget.text - text
        anchor.height = self.deepest - depth
        self.deepest = max(deepest, self.deepest)
        return value

    def _alias(self, event: Event, depth: int) -> Any:
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            message = f"The anchor “{event.anchor}” isn't defined before this alias."
            raise InvalidYaml(self._place(event), message)
        if not anchor.complete:
            message = f"The alias “{event.anchor}” stands inside of what it repeats."
            raise InvalidYaml(self._place(event), message)
        self._count(event, anchor.values, anchor.text)
        self._check_depth(event, depth + anchor.height)
        return anchor.value

    def _sequence(self, start: Event, events: Iterator[Event], depth: int) -> Seq:
        found = Seq(self._place(start))
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.add(self._value(event, events, depth + 1), self._place(event))
        return found

    def _mapping(self, start: Event, events: Iterator[Event], depth: int) -> Map:
        found = Map(self._place(start))
        inherited: list[tuple[Any, Place]] = []
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            place = self._place(event)
            key = self._key(event, events, depth)
            value = self._value(next(events), events, depth + 1)
            if key == MERGE_KEY:
                inherited.append((value, place))
            elif key in found:
                message = f"The key “{key}” occurs twice, first in line {found.places[key].line}."
                raise InvalidYaml(place, message, "Remove one of the two.")
            else:
                found.put(key, value, place)
        for value, place in inherited:
            self._merge(found, value, place)
        return found

    def _key(self, event: Event, events: Iterator[Event], depth: int) -> str:
        key = self._value(event, events, depth + 1)
        if isinstance(key, bool):
            return "true" if key else "false"
        if not isinstance(key, str | int | float):
            raise InvalidYaml(self._place(event), "This key is not text.")
        if len(str(key)) > MAX_KEY_LENGTH:
            message = f"This key has more than {MAX_KEY_LENGTH} characters."
            raise InvalidYaml(self._place(event), message, "Shorten it.")
        return str(key)

    def _merge(self, target: Map, source: Any, place: Place) -> None:
        """Add the keys of one or several mappings, as `<<` asks for; existing keys win."""
        for mapping in source if isinstance(source, Seq) else [source]:
            if not isinstance(mapping, Map):
                raise InvalidYaml(place, "The value of “<<” is not a mapping.")
            for key, value, key_place in mapping.entries():
                if key not in target:
                    target.put(key, value, key_place)

    def _scalar(self, event: Event) -> Any:
        text: str = event.value
        if "\0" in text:
            raise InvalidYaml(self._place(event), "This contains a NUL character.", "Remove it.")
        if event.tag in TEXT_TAGS or (event.tag is None and event.style):
            return text
        if event.tag in (RESET, OVERRIDE, None) or event.tag in PLAIN_TAGS:
            value = _plain(text)
            if isinstance(value, float) and not math.isfinite(value):
                message = "This number is larger than any that a computer counts with."
                remedy = "Write a smaller number, or put text in quotes."
                raise InvalidYaml(self._place(event), message, remedy)
            return value
        raise self._unknown_tag(event)

    def _unknown_tag(self, event: Event) -> InvalidYaml:
        message = f"The tag “{event.tag}” is not supported."
        return InvalidYaml(self._place(event), message, "Remove the tag.")


def _plain(text: str) -> Any:
    """Return what a plain scalar stands for."""
    if NULL.fullmatch(text):
        return None
    if BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if len(text) > 1 and (match := OCTAL.fullmatch(text)):
        return int(match[1], 8) * (-1 if text.startswith("-") else 1)
    kinds = ((DECIMAL, int), (HEXADECIMAL, partial(int, base=16)), (FLOAT, float))
    return next((parse(text) for pattern, parse in kinds if pattern.fullmatch(text)), text)
