"""The machines that the portal is installed on, kept as archives for the next run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.portal import ROOT
from tests.install.machine import Machine, bare_machine
from tests.install.machine import bare_debian as make_bare_debian
from tests.install.virtual_machine import modern_debian, virtual_machine

BARE = pytest.param("bare", marks=pytest.mark.installation)
VIRTUAL = pytest.param("virtual", marks=pytest.mark.virtual_machine)


def _archive(name: str) -> Path:
    folder = Path(os.environ.get("MACHINE_ARCHIVES", ROOT / "var/tests"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.tar"


@pytest.fixture(scope="session")
def bare_debian() -> Path:
    """Return an archive of a bare Debian."""
    archive = _archive("bare-debian")
    make_bare_debian(archive)
    return archive


@pytest.fixture(scope="module", params=[BARE, VIRTUAL])
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Start a machine without a portal: in namespaces, or a virtual one with systemd."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "bare":
        with bare_machine(folder, request.getfixturevalue("bare_debian")) as bare:
            yield bare
    else:
        archive = _archive("modern-debian")
        modern_debian(archive)
        with virtual_machine(folder, archive) as virtual:
            yield virtual
