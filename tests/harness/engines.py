"""Several engines of memory runtimes beside that of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandboxes.models import Engine
from sandboxes.runtime import get_runtime

if TYPE_CHECKING:
    from sandboxes.runtime.memory import MemoryRuntime

Engines = dict[str, "MemoryRuntime"]
NAMES = ("default", "east", "west")


@pytest.fixture
def engines(runtime: MemoryRuntime, db: None) -> Engines:
    """Add the engines east and west, equal to the default one; return the runtime of each."""
    Engine.default().store(memory_mb=16_000)
    for number, name in enumerate(NAMES[1:], 2):
        Engine.objects.create(
            name=name,
            address=f"tcp://192.0.2.{number}:2376",
            publish_address=f"192.0.2.{number}",
            memory_mb=16_000,
        )
    return {name: get_runtime(Engine.objects.get(name=name).connection) for name in NAMES}  # type: ignore[misc]
