"""Start a blueprint: a commented folder that can be checked and tried as it is."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from sandboxes.authoring.errors import AuthoringError
from sandboxes.blueprints.loader import is_valid_name

TEMPLATE = Path(__file__).parent / "template"
DEFAULT_IMAGE = "python:3-slim"
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")


def create(directory: Path, name: str, image: str = DEFAULT_IMAGE) -> Path:
    """Write a new blueprint into a directory, and return its folder. Raises AuthoringError.

    Its service runs Python's own HTTP server in the given image.
    """
    if not is_valid_name(name):
        raise AuthoringError(
            f"“{name}” can't be the name of a blueprint.",
            "Use at most 40 lower-case letters, digits, dashes and underscores.",
        )
    if not IMAGE.fullmatch(image):
        raise AuthoringError(f"“{image}” isn't the name of an image.", "Name one with Python.")
    folder = directory / name
    if folder.exists():
        raise AuthoringError(f"{folder} exists already.", "Choose another name or directory.")
    values = {"name": name, "image": image, "title": name.replace("-", " ").capitalize()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=directory) as temporary:
            new = Path(temporary) / name
            shutil.copytree(TEMPLATE, new, ignore=shutil.ignore_patterns("__pycache__"))
            for file in new.glob("*.yaml"):
                file.write_text(_filled(file.read_text(), values))
            new.rename(folder)
    except OSError as error:
        raise AuthoringError(
            f"{folder} can't be written: {error.strerror}.", "Choose another --directory."
        ) from error
    return folder


def _filled(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    return text
