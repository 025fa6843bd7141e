"""The files of this checkout on a machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.harness.portal import ROOT
from tests.install.machine import Machine

SOURCE_FILES = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]


def copy_source(machine: Machine, name: str = "source") -> None:
    """Copy the files of this checkout to a directory of the machine's root."""
    with tempfile.TemporaryDirectory() as folder:
        write_source(Path(folder))
        machine.copy_tree(Path(folder), f"/root/{name}")


def write_source(target: Path) -> None:
    """Copy the files of this checkout to a directory."""
    files = subprocess.run(SOURCE_FILES, cwd=ROOT, check=True, capture_output=True, text=True)
    for file in filter(None, files.stdout.split("\0")):
        if (ROOT / file).is_file():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, target / file)
