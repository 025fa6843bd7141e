"""A Celery broker that needs no server: a directory with one file per message.

A message appears by a rename, so a reader never sees part of one, and is taken by deleting its
file, which succeeds for only one reader. Kombu's `filesystem` transport guarantees neither: its
readers can open a file, or its routing table, while it is being written. Messages only wake the
worker, so they are deleted before the task runs instead of being acknowledged after it: the
database row holds the work to do.
"""

from __future__ import annotations

import os
import time
from collections import deque
from functools import cached_property
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import virtual
from kombu.utils.json import dumps, loads

DRAFT_PREFIX = "."
"""Prefix of the files of messages that are still being written."""


class Channel(virtual.Channel):
    """Keeps each queue in its own directory, under the transport option `folder`."""

    @cached_property
    def _listed(self) -> dict[str, deque[str]]:
        """Names from the last listing, so that a long queue isn't listed for each message."""
        return {}

    def _folder(self, queue: str) -> Path:
        options: dict[str, Any] = self.connection.client.transport_options  # type: ignore[union-attr,assignment]
        folder = Path(options["folder"]) / queue
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _names(self, queue: str) -> list[str]:
        names = os.listdir(self._folder(queue))  # noqa: PTH208 - only the names are needed
        return sorted(name for name in names if not name.startswith(DRAFT_PREFIX))

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        folder, name = self._folder(queue), f"{time.time_ns():020d}-{uuid4().hex}"
        draft = folder / (DRAFT_PREFIX + name)
        try:
            draft.write_bytes(dumps(message).encode())
            draft.rename(folder / name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - Kombu's
        folder, listed = self._folder(queue), self._listed.setdefault(queue, deque())
        if not listed:
            listed.extend(self._names(queue))
        while listed:
            path = folder / listed.popleft()
            try:
                text = path.read_bytes()
                path.unlink()
            except FileNotFoundError:
                continue  # Another worker took it first.
            return loads(text.decode())
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._names(queue))

    def _purge(self, queue: str) -> int:
        names = self._names(queue)
        for name in names:
            (self._folder(queue) / name).unlink(missing_ok=True)
        return len(names)


class Transport(virtual.Transport):
    """The transport of `embedded://` URLs."""

    Channel = Channel
    driver_type = driver_name = "embedded"

    def driver_version(self) -> str:
        return "1"
