"""The way from the portal's pages to the API inside a sandbox."""

from sandboxes.explorer.client import (
    Answer,
    Ask,
    api_of,
    send,
)
from sandboxes.explorer.spec import describe

__all__ = ["Answer", "Ask", "api_of", "describe", "send"]
