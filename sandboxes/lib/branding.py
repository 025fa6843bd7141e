"""The portal's name and logo, from `PORTAL_NAME` and `PORTAL_LOGO`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings

from sandboxes.lib import names

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
MAX_LOGO_BYTES = 256 * 1024
MAX_NAME_LENGTH = 40


class InvalidLogo(ValueError):
    """The file can't be shown as a logo."""


@dataclass(frozen=True)
class Logo:
    """An image file, and a hash of it."""

    content: bytes
    media_type: str
    version: str


def logo() -> Logo | None:
    """Return the operator's logo; None if there is none, or if it is invalid."""
    try:
        return read_logo(settings.PORTAL_LOGO) if settings.PORTAL_LOGO else None
    except InvalidLogo:
        return None


@cache
def read_logo(name: str) -> Logo:
    """Read a logo, once per process. Raises InvalidLogo."""
    file = Path(name)
    if file.suffix.lower() not in MEDIA_TYPES:
        raise InvalidLogo(f"The name of the file ends with none of {', '.join(MEDIA_TYPES)}.")
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_LOGO_BYTES + 1)
    except OSError as error:
        raise InvalidLogo(f"The file can't be read ({type(error).__name__}).") from error
    if not content or len(content) > MAX_LOGO_BYTES:
        raise InvalidLogo(f"The file is empty or larger than {MAX_LOGO_BYTES // 1024} kB.")
    version = hashlib.sha256(content).hexdigest()[:12]
    return Logo(content, MEDIA_TYPES[file.suffix.lower()], version)


def is_valid_name(name: str) -> bool:
    """Return whether the name fits into a header of pages and into the subject of an email."""
    fits = 0 < len(name) <= MAX_NAME_LENGTH and name == name.strip()
    return fits and not names.character_problem(name)
