"""A queue that needs no server: a directory in which every message is one file.

A message appears by a rename, so no reader ever sees half of one, and it is taken by removing it,
which succeeds for one reader only. Kombu's own `filesystem` transport promises neither: its
readers can meet a file that is still being written, and its routing table likewise. Messages live
only to wake the worker, so none is kept until it is acknowledged: the row is the queue.
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

DRAFT = "."
"""What the names of messages begin with that are still being written."""


class Channel(virtual.Channel):
    """Keeps each queue in a directory of its own, under the transport option `folder`."""

    @cached_property
    def _listed(self) -> dict[str, deque[str]]:
        """Names seen in the last listing, so that a long queue is not listed for each message."""
        return {}

    def _folder(self, queue: str) -> Path:
        options: dict[str, Any] = self.connection.client.transport_options  # type: ignore[union-attr,assignment]
        folder = Path(options["folder"]) / queue
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _names(self, queue: str) -> list[str]:
        names = os.listdir(self._folder(queue))  # noqa: PTH208 - names are all that is needed
        return sorted(name for name in names if not name.startswith(DRAFT))

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        folder, name = self._folder(queue), f"{time.time_ns():020d}-{uuid4().hex}"
        draft = folder / (DRAFT + name)
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
                continue  # Another worker was faster.
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
    """What Kombu finds under `sandboxportal.celery_filesystem_broker:Transport`."""

    Channel = Channel
    driver_type = driver_name = "embedded"

    def driver_version(self) -> str:
        return "1"
