"""Request bodies of the API."""

from __future__ import annotations

from ninja import Field, Schema
from pydantic import ConfigDict


class RequestBody(Schema):
    """A request body. Unknown fields and other types are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Launch(RequestBody):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ttl_minutes": 60, "name": "checkout tests"}]}
    )

    blueprint: str | None = Field(
        default=None,
        description="A name from `/blueprints`. Defaults to the portal's default blueprint.",
    )
    ttl_minutes: int | None = Field(
        default=None,
        description="Lifetime, within the bounds that `/blueprints` gives for the blueprint.",
        examples=[60],
    )
    name: str | None = Field(
        default=None, description="A label of up to 60 characters; by default, a generated one."
    )


class Rename(RequestBody):
    name: str = Field(description="A label of up to 60 characters.", examples=["checkout"])


class Extend(RequestBody):
    minutes: int = Field(description="Minutes to add; never past `hard_cap_at`.", examples=[60])
