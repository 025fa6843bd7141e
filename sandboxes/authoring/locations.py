"""Where a blueprint is, and what it is called."""

from __future__ import annotations

import re
from pathlib import Path

from sandboxes.authoring.errors import AuthoringError
from sandboxes.blueprints.compose.reading.project import COMPOSE_FILES
from sandboxes.blueprints.loader import find_compose_file

MAX_NAME_LENGTH = 40
KNOWN_FILES = f"{', '.join(COMPOSE_FILES[:-1])} or {COMPOSE_FILES[-1]}"


def folder_of(path: Path) -> Path:
    """Return the folder of a blueprint, given by its path or that of its Compose file.

    Raises AuthoringError.
    """
    if path.is_dir():
        folder = path.absolute()
    elif path.is_file():
        folder = path.absolute().parent
        chosen = find_compose_file(folder)
        if path.name not in COMPOSE_FILES:
            raise AuthoringError(
                f"{path} isn't the Compose file of a folder.",
                f"Name the file {KNOWN_FILES}, in a folder of its own.",
            )
        if chosen and chosen.name != path.name:
            raise AuthoringError(
                f"The folder has two Compose files, and {chosen.name} is used.",
                f"Remove {chosen.name}, or check that file.",
            )
    else:
        problem = "is neither a folder nor a file" if path.exists() else "doesn't exist"
        raise AuthoringError(
            f"{path} {problem}.", "Name a folder with a Compose file, or the Compose file."
        )
    if find_compose_file(folder) is None:
        raise AuthoringError(f"{folder} has no Compose file.", f"Add a {COMPOSE_FILES[0]}.")
    return folder


def name_from(text: str) -> str:
    """Return a valid name of a blueprint that resembles a text, such as the name of a folder."""
    name = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    name = name if name[:1].isalpha() else f"blueprint-{name}".rstrip("-")
    return name[:MAX_NAME_LENGTH].rstrip("-_")
