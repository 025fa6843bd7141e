"""What is left on the machine that runs the sandboxes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """Of what an operator has to know before it runs out; None where it can't be told."""

    disk_total_mb: int | None = None
    disk_free_mb: int | None = None
    """Of the file system that holds the sandboxes."""
    subnets_taken: int | None = None
    """How many /28 of `SANDBOX_SUBNETS` are in use, by whomever."""
