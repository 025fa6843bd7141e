"""Errors that authors can correct: what is wrong, and what to do."""

from __future__ import annotations

from sandboxes.lib.text import printable

__all__ = ["AuthoringError", "printable"]


class AuthoringError(Exception):
    """Something couldn't be done with a blueprint; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"
