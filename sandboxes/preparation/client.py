"""Building the package of the command-line client. Needs no network."""

from __future__ import annotations

import tempfile
from pathlib import Path

from django.conf import settings
from hatchling.builders.wheel import WheelBuilder

from sandboxes.lib import client_package
from sandboxes.lib.client_package import ClientPackage

SOURCE = Path(settings.BASE_DIR) / "sandboxes" / "cli"
READABLE = 0o644


def build() -> ClientPackage:
    """Build the package and replace that of an older version."""
    folder = client_package.folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        built = Path(next(WheelBuilder(str(SOURCE)).build(directory=temporary)))
        built.chmod(READABLE)
        # In one step, so that no request reads half of the file.
        package = ClientPackage(built.replace(folder / built.name))
    for other in folder.glob("*.whl"):
        if other != package.file:
            other.unlink()
    return package
