"""A Celery broker that needs no server: a directory with one file per message.

A message appears by a rename, so a reader never sees part of one, and is taken by deleting its
file, which succeeds for only one reader. Kombu's `filesystem` transport guarantees neither: its
readers can open a file, or its routing table, while it is being written. Messages only wake the
worker, so they are deleted before the task runs instead of being acknowledged after it: the
database row holds the work to do.

Anything else in the directory is foreign data: a file that isn't a message is logged, renamed to
`.unreadable-…` and never read again.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from functools import cached_property
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

import structlog
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

log = structlog.get_logger(__name__)

HIDDEN_PREFIX = "."
"""Prefix of messages that are still being written, and of files that aren't messages."""
UNREADABLE_PREFIX = ".unreadable-"
PRIVATE, SHARED = 0o700, 0o770
MAX_MESSAGE_BYTES = 1024 * 1024


def folder_mode(parent: Path) -> int:
    """Return the mode of a new directory: shared with the group if the parent is set up for it."""
    return SHARED if parent.stat().st_mode & stat.S_ISGID else PRIVATE


def require_message(message: Any, channel: virtual.Channel) -> None:
    """Raise an exception unless Kombu can deliver this message."""
    parsed = virtual.Message(message, channel=channel)
    if not isinstance(parsed.headers, dict) or not isinstance(parsed.delivery_tag, str):
        raise TypeError("no headers or delivery tag")


class Channel(virtual.Channel):
    """Keeps each queue in its own directory, under the transport option `folder`."""

    @cached_property
    def _listed(self) -> dict[str, deque[str]]:
        """Names from the last listing, so that a long queue isn't listed for each message."""
        return {}

    @cached_property
    def _ignored(self) -> set[Path]:
        """Files that aren't messages and couldn't be renamed."""
        return set()

    def _folder(self, queue: str) -> Path:
        options: dict[str, Any] = self.connection.client.transport_options  # type: ignore[union-attr,assignment]
        folder = Path(options["folder"]) / queue
        try:
            folder.mkdir(mode=folder_mode(folder.parent), exist_ok=True)
        except FileNotFoundError:
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        return folder

    def _names(self, queue: str) -> list[str]:
        names = os.listdir(self._folder(queue))  # noqa: PTH208 - only the names are needed
        return sorted(name for name in names if not name.startswith(HIDDEN_PREFIX))

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        folder, name = self._folder(queue), f"{time.time_ns():020d}-{uuid4().hex}"
        draft = folder / (HIDDEN_PREFIX + name)
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
                message = self._read(path)
                path.unlink()
            except FileNotFoundError:
                continue  # Another worker took it first.
            except Exception as error:  # noqa: BLE001 - of any content; it must not stop the worker
                self._set_aside(path, error)
                continue
            return message
        raise Empty

    def _read(self, path: Path) -> dict[str, Any]:
        """Return the message in this file. Raises an exception if it isn't one."""
        # Doesn't wait for a writer of a named pipe, and doesn't follow links.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ValueError("not a regular file")
            if state.st_size > MAX_MESSAGE_BYTES:
                raise ValueError("larger than a message can be")
            message: dict[str, Any] = loads(file.read(MAX_MESSAGE_BYTES).decode())
        require_message(message, self)
        return message

    def _set_aside(self, path: Path, error: Exception) -> None:
        if path in self._ignored:
            return
        try:
            path.rename(path.with_name(UNREADABLE_PREFIX + path.name))
        except FileNotFoundError:
            return
        except OSError:
            self._ignored.add(path)
        log.warning("queue_message_unreadable", file=str(path), error=f"{error!r:.200}")

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
    # The worker tries again while the directory can't be used.
    connection_errors = (*virtual.Transport.connection_errors, OSError)
    driver_type = driver_name = "embedded"

    def driver_version(self) -> str:
        return "1"
