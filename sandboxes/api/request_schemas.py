"""Request bodies of the API."""

from __future__ import annotations

from ninja import Field, Schema
from pydantic import ConfigDict


class RequestBody(Schema):
    """A request's body: unknown fields and guessed types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Launch(RequestBody):
    blueprint: str | None = Field(
        default=None, description="One of /blueprints; the portal has a default."
    )
    ttl_minutes: int | None = Field(
        default=None,
        description="Its lifetime, within the bounds that /limits gives.",
        examples=[60],
    )
    name: str | None = Field(
        default=None, description="At most 60 characters, for you to tell them apart."
    )


class Extend(RequestBody):
    minutes: int = Field(description="How much more; never past the hard cap.", examples=[60])
