"""Blueprints as JSON documents, which must load in later releases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.blueprints import Blueprint, document, load

STORED = Path(__file__).with_name("stored_document.json")
"""Written by the first release that stored versions; it never changes."""

words = st.text("abz é\n\"'${}/:", max_size=6)
answers = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)


PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: words,
    int: st.integers(-9, 9),
    float: st.floats(-9, 9),
    bool: st.booleans(),
    Path: st.builds(Path, words),
    Any: answers,
    type(None): st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type that is built from dataclasses, mappings, sequences and unions."""
    origin, inside = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if origin is Mapping:
        return st.dictionaries(*map(values_of, inside), max_size=2)
    if origin is tuple and Ellipsis not in inside:
        return st.tuples(*map(values_of, inside))
    if origin in (Sequence, tuple):
        return st.lists(values_of(inside[0]), max_size=2).map(tuple)
    if is_dataclass(kind):
        return st.deferred(lambda: fields_of(kind))
    choices = map(values_of, inside) if origin in (Union, UnionType) else [st.sampled_from(kind)]
    return st.one_of(*choices)


def fields_of(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in fields(kind)})


def content(value: Any) -> Any:
    """Return a value to compare, in which lists equal tuples and the order of keys matters."""
    if is_dataclass(value):
        own = [(field.name, content(getattr(value, field.name))) for field in fields(value)]
        return type(value), own
    if isinstance(value, Mapping):
        return [(key, content(item)) for key, item in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [content(item) for item in value]
    return type(value), value


@settings(max_examples=50)
@given(fields_of(Blueprint))
def test_every_blueprint_comes_back_from_its_document_unchanged(blueprint: Blueprint) -> None:
    expected = replace(blueprint, version="", image_ids={})
    assert content(document.load(document.dump(blueprint))) == content(expected)


def test_a_document_of_an_earlier_release_loads() -> None:
    stored = document.load(STORED.read_text())
    assert [service.name for service in stored.services] == ["db", "api"]
    assert stored.endpoint_urls({"api:8080": "127.0.0.1:49153"}) == {
        "api": "http://127.0.0.1:49153",
        "docs": "http://127.0.0.1:49153/docs",
    }
    assert stored.new_secrets().keys() == {"API_KEY", "DATABASE_PASSWORD"}


def test_fields_of_a_later_release_are_ignored() -> None:
    billing = load("billing")
    later = json.loads(document.dump(billing)) | {"of_a_later_release": {"x": 1}}
    later["services"][0]["of_a_later_release"] = True
    assert content(document.load(json.dumps(later))) == content(replace(billing, version=""))


@pytest.mark.parametrize("text", ["", "[]", '{"name": "shop"}'])
def test_a_document_without_needed_fields_is_rejected(text: str) -> None:
    with pytest.raises(document.UnreadableDocument):
        document.load(text)


def test_the_digest_depends_on_content_and_images_and_not_on_the_folder() -> None:
    billing = load("billing")
    ids = dict.fromkeys(billing.images, "sha256:1")
    digest = document.digest(billing, ids)

    assert document.digest(replace(billing, path=Path("/elsewhere")), ids) == digest
    assert document.digest(replace(billing, title="Other"), ids) != digest
    assert document.digest(billing, dict.fromkeys(billing.images, "sha256:2")) != digest
