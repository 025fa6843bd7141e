"""Folders of a blueprint give an image what `docker build` would send, within bounds."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.runtime import Bind, ImageBuild, ImageRecipe
from sandboxes.runtime.docker.images import folder_contents, ignore_file
from sandboxes.runtime.docker.images.build_context import BuildContext
from sandboxes.runtime.docker.images.errors import ImageError
from sandboxes.runtime.docker.images.folder_contents import FolderContents
from sandboxes.runtime.docker.images.ignore_file import read_ignore_file
from sandboxes.runtime.docker.images.prepare import check_folders

ALL = {"a.py", "src/b.py", "src/b.pyc", "src/deep/c.py", "docs/x.md", "docs/api/y.md"}


def context(root: Path, ignored: str) -> ImageBuild:
    (root / ".dockerignore").write_text(ignored)
    return ImageBuild(root, root / "Dockerfile")


def sent(root: Path, ignored: str) -> set[str]:
    paths = BuildContext(context(root, ignored)).paths()
    names = {path.relative_to(root).as_posix() for path in paths if path.is_file()}
    return names - {"Dockerfile", ".dockerignore"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in {*ALL, "Dockerfile"}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        ("", ALL),
        ("# src\n\n  docs/ \n", ALL - {"docs/x.md", "docs/api/y.md"}),
        ("/src/../docs\n./src", {"a.py"}),
        ("*.py", ALL - {"a.py"}),
        ("*/*.md", ALL - {"docs/x.md"}),
        ("**/*.py", {"src/b.pyc", "docs/x.md", "docs/api/y.md"}),
        ("src/**/c.py", ALL - {"src/deep/c.py"}),
        ("**b.py", ALL - {"src/b.py"}),
        ("docs/**", ALL - {"docs/x.md", "docs/api/y.md"}),
        ("src/b.py?\na[.]py\n[d-e]ocs/[^y]*", {"src/b.py", "src/deep/c.py"}),
        ("src/b\\.p?\n\\[a", ALL - {"src/b.py"}),
        ("*\n!src\nsrc/deep", {"src/b.py", "src/b.pyc"}),
        # What is restored may be anywhere below an ignored folder.
        ("*\n!**/*.py", {"a.py", "src/b.py", "src/deep/c.py"}),
        ("*\n!docs/*/y.md", {"docs/api/y.md"}),
        ("Dockerfile\n.dockerignore\n.", ALL),
    ],
)
def test_patterns_mean_what_they_mean_to_docker_build(
    files: Path, ignored: str, left: set[str]
) -> None:
    assert sent(files, ignored) == left


@pytest.mark.parametrize(
    ("ignored", "message"),
    [
        ("src\n[a\n", r"dockerignore: The pattern “\[a” is invalid"),
        ("[b-a]", "The pattern .* is invalid"),
        ("x\n" * 1001, "more than 1000 patterns"),
        ("x" * 70_000, "64 KB of them"),
        ("?" * 65_000, r"The pattern “\?{100}” is invalid"),
        ("?a" * 2 + "\n!b\n" * 300, "too many patterns for as many files"),
    ],
)
def test_invalid_or_too_many_patterns_are_named(
    files: Path, monkeypatch: pytest.MonkeyPatch, ignored: str, message: str
) -> None:
    monkeypatch.setattr(folder_contents, "MAX_COMPARISONS", 10)
    with pytest.raises(ImageError, match=message):
        sent(files, ignored)


@pytest.mark.parametrize("pattern", ["*a" * 100, "**/a" * 100, "a**" * 60, "[ab]*" * 100 + "c"])
def test_no_pattern_takes_long(tmp_path: Path, pattern: str) -> None:
    (tmp_path / ".dockerignore").write_text(pattern)
    found = read_ignore_file(tmp_path / ".dockerignore", ())
    started = time.process_time()
    found.matches("a" * 250 + "b")
    found.matches("a/" * 250 + "b")
    assert time.process_time() - started < 1


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder in which folders are nested more deeply than calls of Python may be."""
    path = tmp_path / "context"
    path.mkdir()
    for _ in range(1100):
        path = path / "d"
        path.mkdir()
    yield path
    # Python's own functions, by which pytest removes folders, call themselves for each one.
    subprocess.run(["rm", "-rf", tmp_path / "context"], check=True)


def test_deep_folders_and_names_in_another_encoding_are_found(tmp_path: Path, deep: Path) -> None:
    (deep / os.fsdecode(b"\xff.txt")).touch()

    paths = BuildContext(context(tmp_path / "context", "**/*.log")).paths()

    assert len(paths) == 1 + 1100 + 1
    assert "\udcff" in str(paths[-1])


def test_files_and_bytes_of_an_image_are_bounded(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (files / "docs" / "large").open("wb") as large:
        large.truncate(folder_contents.MAX_BYTES + 1)
    build = context(files, "*\n!docs")
    recipes = {
        "api": ImageRecipe("", build=build),
        "db": ImageRecipe("db", binds={"/a": Bind(files / "src"), "/b": Bind(files / "docs")}),
        "web": ImageRecipe("web", binds={"/a": Bind(files / "src")}),
    }

    started = time.process_time()
    problems, _ = check_folders(recipes)

    assert time.process_time() - started < 1
    assert [problem.place for problem in problems] == ["services.api.build", "services.db.volumes"]
    assert all("at most 50000 files with 1024 MB" in problem.message for problem in problems)
    assert ".dockerignore" in problems[0].remedy and "Mount only" in problems[1].remedy
    monkeypatch.setattr(folder_contents, "MAX_FILES", 3)
    assert len(check_folders(recipes)[0]) == 3
    monkeypatch.setattr(folder_contents, "MAX_VISITED", 3)
    with pytest.raises(ImageError, match="more than 3 files, the last ones in"):
        BuildContext(context(files, "*")).paths()


def test_folders_of_several_services_are_counted_once_and_together(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = context(files, "docs")
    binds = {"/a": Bind(files / "src")}
    same = {name: ImageRecipe("", build=build, binds=binds) for name in "abcdef"}
    monkeypatch.setattr(folder_contents, "MAX_VISITED", 13)
    assert check_folders(same)[0] == []
    others = {"last": ImageRecipe("", binds={"/a": Bind(files / "docs")})}
    assert [one.place for one in check_folders(same | others)[0]] == ["services.last.volumes"]


def test_what_is_neither_file_nor_folder_is_left_out_and_named(files: Path) -> None:
    os.mkfifo(files / "src" / "pipe")

    found = FolderContents("")
    paths = found.paths(files / "src")

    assert "pipe" not in {path.name for path in paths}
    assert found.special == [files / "src" / "pipe"]
    recipe = ImageRecipe("web", binds={"/app": Bind(files / "src")})
    assert check_folders({"web": recipe}) == ([], {"web": [files / "src" / "pipe"]})


def test_patterns_are_compiled_in_groups() -> None:
    lines = [f"{'!' if number > 99 else ''}x{number}" for number in range(200)]
    found = ignore_file.IgnoreFile([ignore_file.parse(line) for line in lines])
    assert found.comparisons == 2 * -(-100 // ignore_file.GROUP)
    assert found.ignores(found.matches("x7")) and not found.ignores(found.matches("x107"))
