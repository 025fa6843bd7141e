"""A blueprint whose sandboxes only their owners may open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.blueprints import tiny, write


def owner_only_blueprint(settings: Any, folder: Path) -> None:
    """Make it the only blueprint; its endpoint `web` is an HTTP service."""
    content = tiny()
    content["x-sandbox"]["access"] = "owner"
    write(folder / "blueprints", content)
    settings.SANDBOX_BLUEPRINTS_DIR = folder / "blueprints"
    settings.SANDBOX_DEFAULT_BLUEPRINT = "tiny"
