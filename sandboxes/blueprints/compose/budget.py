"""What the files of one blueprint may expand to, wherever they repeat values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandboxes.blueprints.compose.tree import KeyPath, Place

MAX_VALUES = 10_000
MAX_TEXT = 4 * 1024 * 1024
MAX_COPIES = 30_000


class TooLarge(Exception):
    """The files of a blueprint expand to more than the portal reads. Ends its inspection."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.place: Place | None = None
        self.path: KeyPath = ()


@contextmanager
def located(place: Place | None, path: KeyPath = ()) -> Iterator[None]:
    """Add place and path to a TooLarge that has none."""
    try:
        yield
    except TooLarge as error:
        if error.place is None:
            error.place, error.path = place, path
        raise


@dataclass
class Budget:
    """Counts what is read and what is copied, for all files of a blueprint together.

    Small files can stand for much: by aliases, variables, `extends`, `include`, `volumes_from` and
    files of variables that are named many times.
    """

    values: int = 0
    """Values in the files, counting what aliases stand for each time."""
    copies: int = 0
    """Values that are repeated: filled in, inherited, or taken from another file."""
    text: int = 0
    """Characters of all these."""

    def read(self, values: int, text: int) -> None:
        """Count what a file contains. Raises TooLarge."""
        self.values += values
        if self.values > MAX_VALUES:
            raise TooLarge(
                f"There are more than {MAX_VALUES} values, including those that aliases repeat.",
                "Shorten the file, or use fewer aliases.",
            )
        self._add_text(text)

    def copy(self, values: int, text: int) -> None:
        """Count what is taken from elsewhere. Raises TooLarge."""
        self.copies += values
        if self.copies > MAX_COPIES:
            raise TooLarge(
                f"Variables, `extends`, `include`, `volumes_from` and files of variables repeat "
                f"more than {MAX_COPIES} values.",
                "Repeat fewer, or write them out where they are needed.",
            )
        self._add_text(text)

    def _add_text(self, length: int) -> None:
        self.text += length
        if self.text > MAX_TEXT:
            raise TooLarge(
                f"With all variables filled in, the files have more than {MAX_TEXT // 1024**2} MB "
                "of text.",
                "Repeat less text; large data belongs into an image or a mounted folder.",
            )
