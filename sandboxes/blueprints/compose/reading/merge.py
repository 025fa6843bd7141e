"""Merge Compose files in normal form: an override, an extended service, an included file.

https://github.com/compose-spec/compose-spec/blob/main/13-merge.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandboxes.blueprints.compose.tree import Map, Removed, Replacing, Seq

REPLACED = frozenset({"command", "entrypoint", "test"})
"""Keys whose lists are commands, and therefore not extended."""

IDENTITY: Mapping[str, Callable[[Map], Any]] = {
    "ports": lambda port: (port.get("target"), port.get("protocol")),
    "volumes": lambda mount: mount.get("target"),
    "configs": lambda use: use.get("target") or use.get("source"),
    "secrets": lambda use: use.get("target") or use.get("source"),
}
"""What an item of a list is known by: a later item replaces the one that is known by the same."""


def merge(base: Map, over: Map) -> Map:
    """Return a mapping with the keys of both; those of `over` win."""
    merged = base.copy()
    for key, value, place in over.entries():
        if isinstance(value, Removed):
            merged.drop(key)
        elif isinstance(value, Replacing):
            merged.put(key, value.value, place)
        elif key in base:
            merged.put(key, _merge_values(key, base[key], value), place)
        else:
            merged.put(key, value, place)
    return merged


def without_tags(value: Any) -> Any:
    """Return a value in which no `!reset` or `!override` is left."""
    if isinstance(value, Replacing):
        return without_tags(value.value)
    if isinstance(value, Map):
        done = Map(value.place)
        for key, item, place in value.entries():
            if not isinstance(item, Removed):
                done.put(key, without_tags(item), place)
        return done
    if isinstance(value, Seq):
        items = Seq(value.place)
        for item, place in value.entries():
            if not isinstance(item, Removed):
                items.add(without_tags(item), place)
        return items
    return value


def _merge_values(key: str, base: Any, over: Any) -> Any:
    if isinstance(base, Replacing):
        base = base.value
    if isinstance(base, Map) and isinstance(over, Map):
        return merge(base, over)
    if isinstance(base, Seq) and isinstance(over, Seq) and key not in REPLACED:
        return _extend(key, base, over)
    return base if over is None and isinstance(base, Map | Seq) else over


def _extend(key: str, base: Seq, over: Seq) -> Seq:
    known_by = IDENTITY.get(key)
    if known_by is None:
        known_by = _itself
    replaced = {_safe(known_by, item) for item in over}
    merged = Seq(base.place)
    for item, place in base.entries():
        if _safe(known_by, item) not in replaced:
            merged.add(item, place)
    for item, place in over.entries():
        merged.add(item, place)
    return merged


def _safe(known_by: Callable[[Map], Any], item: Any) -> str:
    return str(known_by(item)) if isinstance(item, Map) else str(item)


def _itself(item: Map) -> Any:
    return item
