"""A bare Debian for all tests of installations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.harness.portal import ROOT
from tests.install.machine import bare_debian as make_bare_debian


@pytest.fixture(scope="session")
def bare_debian() -> Path:
    """Return an archive of a bare Debian, kept for the next run."""
    archive = Path(os.environ.get("BARE_DEBIAN", ROOT / "var/tests/bare-debian.tar"))
    archive.parent.mkdir(parents=True, exist_ok=True)
    make_bare_debian(archive)
    return archive
