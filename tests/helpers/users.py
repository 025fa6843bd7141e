"""Another user of this machine, for tests that run as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

OTHER_USER = 65534


@contextmanager
def as_other_user() -> Iterator[None]:
    """Access files with the permissions of a user without any."""
    os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        os.seteuid(0)
