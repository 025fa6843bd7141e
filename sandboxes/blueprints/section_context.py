"""What the checks of the `x-sandbox` section look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sandboxes.blueprints.sandbox_section import SandboxSection

Violation = tuple[str, str, str]
"""Key, message, remedy."""


@dataclass(frozen=True)
class SectionContext:
    """A section whose single keys are valid, and the services that it may name."""

    services: Mapping[str, Sequence[int]]
    """Published ports by service."""
    sandbox: SandboxSection
    one_shot: Set[str] = frozenset()
    """Services for whose completion others wait."""
