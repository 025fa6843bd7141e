"""Directories whose contents are hard to measure and to remove."""

from __future__ import annotations

import os
from pathlib import Path

LONG = "d" * 200


def nest(top: Path, depth: int, name: str = LONG) -> None:
    """Make directories within each other; their path may be longer than the system accepts."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def forest(top: Path) -> None:
    for number in range(40):
        (top / f"{number}").mkdir()
        for name in ("one", "two", "\udcff\n*"):
            (top / f"{number}" / name).write_text("x" * number * 300)
        os.link(top / f"{number}" / "one", top / f"link-{number}")
    (top / "loop").symlink_to(top)
    (top / "outside").symlink_to("/usr")
    (top / "missing").symlink_to("/nowhere")
    os.mkfifo(top / "pipe")
    with (top / "sparse").open("wb") as file:
        file.truncate(5 * 1024**3)
