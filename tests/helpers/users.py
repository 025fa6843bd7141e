"""Another user of this machine, for tests that run as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Access files with the permissions of the user `nobody`."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
