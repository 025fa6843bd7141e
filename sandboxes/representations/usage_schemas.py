"""Resource usage of a sandbox in the API."""

from __future__ import annotations

from datetime import datetime

from ninja import Field, Schema

REQUESTS = (
    "Requests to its API since launch. Null if the blueprint has no API to count, or while they "
    "are being counted."
)


class Sample(Schema):
    at: datetime
    memory_mb: float
    cpus: float | None = Field(description="CPU load since the previous sample, in CPUs.")
    disk_mb: float | None
    received_bytes: int
    sent_bytes: int
    requests: int | None = Field(description=REQUESTS)
    requests_per_minute: float | None = Field(description="Since the previous sample.")


class Peak(Schema):
    """The highest values of all samples; totals of traffic and requests."""

    memory_mb: float
    cpus: float | None
    disk_mb: float | None
    received_bytes: int
    sent_bytes: int
    requests: int | None = Field(default=None, description=REQUESTS)
    requests_per_minute: float | None = None
