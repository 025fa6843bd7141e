"""What the API tells of a sandbox's consumption."""

from __future__ import annotations

from datetime import datetime

from ninja import Field, Schema

COUNTED = (
    "Calls of its API since launch; null where its blueprint has none to count, and for a moment "
    "while they are being counted."
)


class Sample(Schema):
    at: datetime
    memory_mb: float
    cpus: float | None = Field(description="Load since the sample before, in CPUs.")
    disk_mb: float | None
    received_bytes: int
    sent_bytes: int
    requests: int | None = Field(description=COUNTED)
    requests_per_minute: float | None = Field(description="Since the sample before.")


class Peak(Schema):
    """The most that any sample shows; traffic and requests of all its life."""

    memory_mb: float
    cpus: float | None
    disk_mb: float | None
    received_bytes: int
    sent_bytes: int
    requests: int | None = Field(default=None, description=COUNTED)
    requests_per_minute: float | None = None
