"""Request bodies of the API."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import ConfigDict, WithJsonSchema

from sandboxes.models.metadata_entry import MAX_METADATA_PAIRS, MAX_VALUE_LENGTH

# Values are validated by what the blueprint says; errors then name the parameter.
ParameterValue = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]}),
]
MetadataValue = Annotated[Any, WithJsonSchema({"type": "string", "maxLength": MAX_VALUE_LENGTH})]


MetadataChange = Annotated[
    Any,
    WithJsonSchema(
        {"anyOf": [{"type": "string", "maxLength": MAX_VALUE_LENGTH}, {"type": "null"}]}
    ),
]


class RequestBody(Schema):
    """A request body. Unknown fields and other types are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Launch(RequestBody):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ttl_minutes": 60, "name": "checkout tests", "metadata": {"job": "4711"}}]
        }
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
    parameters: dict[str, ParameterValue] | None = Field(
        default=None,
        description="Values for parameters of the blueprint, which `/blueprints` lists; the others "
        "have their defaults.",
    )
    metadata: dict[str, MetadataValue] | None = Field(
        default=None,
        description="Up to 20 pairs of your own, such as the number of a CI job; keys of up to 40 "
        "characters.",
        json_schema_extra={"maxProperties": MAX_METADATA_PAIRS},
    )
    save_point: str | None = Field(
        default=None,
        description="A save point of yours, or a starting point, with whose data the sandbox "
        "starts. Blueprint and parameters are those of the save point.",
    )
    heartbeat_seconds: int | None = Field(
        default=None,
        description="Ends the sandbox when no heartbeat has come for this time, from 30 to 3600 "
        "seconds: if your program is killed, its sandbox doesn't stay.",
    )


class SandboxChanges(RequestBody):
    name: str | None = Field(
        default=None, description="A label of up to 60 characters.", examples=["checkout"]
    )
    metadata: dict[str, MetadataChange] | None = Field(
        default=None,
        description="Pairs to add or change, and to remove if their value is null; the others "
        "stay.",
        examples=[{"job": "4712", "branch": None}],
    )


class Extend(RequestBody):
    minutes: int = Field(description="Minutes to add; never past `hard_cap_at`.", examples=[60])


class Save(RequestBody):
    name: str = Field(description="A label of up to 60 characters.", examples=["before upgrade"])


class SavePointChanges(RequestBody):
    name: str = Field(description="A label of up to 60 characters.", examples=["after the import"])
