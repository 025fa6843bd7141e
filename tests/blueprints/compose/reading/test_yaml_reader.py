"""Reading YAML: YAML 1.2's scalars, anchors, places, and bounds."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from sandboxes.blueprints.compose.budget import TooLarge
from sandboxes.blueprints.compose.findings import Malformed
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.reading.yaml_reader import InvalidYaml, read_yaml
from sandboxes.blueprints.compose.tree import Map, place_of
from sandboxes.blueprints.loader import inspect

FILE = Path("compose.yaml")


def read(text: str) -> Map:
    (document,) = read_yaml(text, FILE)
    assert isinstance(document, Map)
    return document


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("22:22", "22:22"),
        ("0440", 0o440),
        ("0o17", 15),
        ("0x1F", 31),
        ("10", 10),
        ("-3", -3),
        ("0", 0),
        ("08", "08"),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"),
        ("9" * 40, "9" * 40),
    ],
)
def test_scalars_follow_yaml_1_2(scalar: str, value: Any) -> None:
    found = read(f"key: {scalar}")["key"]
    assert (found, type(found)) == (value, type(value))


def test_merge_keys_add_what_is_missing() -> None:
    tree = read("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\n")
    assert tree["c"] == {"x": 3, "y": 1, "z": 2}


def test_every_key_and_item_knows_its_line() -> None:
    tree = read("a: &a\n  x:\n    - 1\n    - 2\nb:\n  <<: *a\n")
    assert place_of(tree, ("a", "x", 1)).line == 4
    assert place_of(tree, ("b", "x", 0)).line == 3
    assert place_of(tree, ("b", "missing", 0)).line == 5


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
DOUBLING = "a: &a {x: 1}\n" + "".join(
    f"b{n}: &b{n} {{p: *{'a' if not n else f'b{n - 1}'}, q: *{'a' if not n else f'b{n - 1}'}}}\n"
    for n in range(40)
)
CHAIN = "a: &a0 1\n" + "".join(f"b{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (BOMB, 4, "more than 10000 values"),
        (DOUBLING, 11, "more than 10000 values"),
        ("[" * 200_000, 1, "nested more than 40 levels"),
        ("{a: " * 50_000, 1, "nested more than 40 levels"),
        (CHAIN, 41, "nested more than 40 levels"),
        ("- x\n" * 60_000, 10_000, "more than 10000 values"),
        ("a: &a\n  b: *a\n", 2, "inside of what it repeats"),
        ("a: &a [*a]", 1, "inside of what it repeats"),
        ("a: *b", 1, "The anchor “b” isn't defined"),
        ("a: 1\nb: 2\na: 3", 3, "“a” occurs twice, first in line 1"),
        ("a: !!python/object:os.system x", 1, "is not supported"),
        ("a: !thing {}", 1, "is not supported"),
        ("? [a]\n: 1", 1, "not text"),
        ("a:\n\t- b", 2, "cannot start any token"),
        ("a: 1\nb: 1e999", 2, "larger than any"),
        (f"a: 1\n{'k' * 301}: 2", 2, "more than 300 characters"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a: [", 1, "did not find"),
        ('a: "\\ud800"', 1, "invalid Unicode"),
        ("a\x00: b", 0, "unexpected characters"),
        ("<<: text\na: 1", 1, "not a mapping"),
    ],
    ids=lambda part: str(part)[:20],
)
def test_bad_yaml_is_reported_with_its_line_within_a_second(
    text: str, line: int, message: str
) -> None:
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((InvalidYaml, TooLarge), match=message) as caught:
        read_yaml(text, FILE)
    assert isinstance(caught.value, InvalidYaml | TooLarge)
    assert caught.value.place
    assert caught.value.place.line in (line, line + 1)
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100 * 1024


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(b"services: {}\n" * 800_000)
    started = time.process_time()
    (problem,) = inspect(tmp_path, 512, 1.0).problems[:1]
    assert "larger than 256 KB" in problem.message
    assert time.process_time() - started < 1


def test_many_files_are_refused(tmp_path: Path) -> None:
    files = SourceFiles(tmp_path)
    for number in range(51):
        (tmp_path / str(number)).write_text("x")
    for number in range(50):
        files.text(tmp_path / str(number))
    with pytest.raises(Malformed, match="more than 50 files"):
        files.text(tmp_path / "50")


def test_only_regular_files_below_the_folder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (tmp_path / "other").write_text("x")
    (folder / "link").symlink_to("../other")
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    (folder / "latin").write_bytes(b"\xff\xfe\xfd")
    files = SourceFiles(folder)
    for name, message in {
        "link": "leads out",
        "../other": "leads out",
        "/etc/passwd": "leads out",
        "circle": "can't be",
        "pipe": "not a regular file",
        "latin": "not in UTF-8",
        "missing": "can't be read",
    }.items():
        with pytest.raises(Malformed, match=message):
            files.text(folder / name)
