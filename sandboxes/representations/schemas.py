"""What goes into the API and what comes out of it. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from sandboxes.models import EndReason, Funding, State
from sandboxes.representations.usage_schemas import Peak, Sample


class Step(Schema):
    name: str
    label: str
    state: Literal["waiting", "running", "done", "failed"]
    started_at: datetime | None
    seconds: float | None
    usual_seconds: float | None = Field(
        description="What it took in the middle of recent launches, while it is being made."
    )


class Extension(Schema):
    used: bool
    max_minutes: int = Field(description="What an extension could give now; 0 when none can be.")


class Endpoints(Schema):
    """Where it can be reached; null until it runs. A blueprint may have further ones."""

    model_config = ConfigDict(extra="allow")

    api: str | None = None
    database: str | None = None
    docs: str | None = None


class Stellar(Schema):
    public_key: str
    funding: Funding


class Size(Schema):
    memory_mb: int
    cpus: float
    disk_mb: int


class Failure(Schema):
    service: str
    exit_code: int | None
    log_tail: str


class Sandbox(Schema):
    id: str = Field(examples=["sbx_0123456789abcdef"])
    name: str
    blueprint: str
    state: State
    steps: list[Step]
    eta_seconds: float | None = Field(
        description="About so long until it runs, by the steps of recent launches. Null when it "
        "is not being made, when it takes longer than usual, or when there were none."
    )
    created_at: datetime
    started_at: datetime | None
    expires_at: datetime | None
    idle_expires_at: datetime | None
    hard_cap_at: datetime | None
    ends_at: datetime | None = Field(description="The earliest of its clocks.")
    ends_because: Literal["idle", "expired", "cap"] | None = Field(
        description="Which clock that is; `cap`: no extension can move it."
    )
    summary: str = Field(description="What it is doing and what ends it, in a sentence.")
    ended_at: datetime | None
    end_reason: EndReason | None
    end_message: str | None
    failure: Failure | None
    advice: str | None = Field(
        description="What you can do about an end that you did not choose, in a sentence."
    )
    peak: Peak | None = Field(description="Once it has ended, if it was measured.")
    extension: Extension
    reset_pending: bool
    endpoints: Endpoints
    stellar: Stellar
    limits: Size


class SandboxPage(Schema):
    data: list[Sandbox]
    has_more: bool
    next_cursor: str | None


class ExtensionGranted(Schema):
    minutes: int = Field(description="Less than was asked for where the hard cap came first.")
    created_at: datetime
    expires_before: datetime
    expires_at: datetime
    sandbox: Sandbox


class Credentials(Schema):
    """Keys of the sandbox. A blueprint may have further ones."""

    model_config = ConfigDict(extra="allow")

    api_key: str | None = None
    database_url: str | None = None
    stellar_secret: str


class Event(Schema):
    id: int
    at: datetime
    kind: str
    by: Literal["owner", "operator", "portal"]
    message: str
    data: dict[str, Any]


class EventPage(Schema):
    data: list[Event]
    has_more: bool
    next_cursor: str | None


class Log(Schema):
    service: str | None = Field(description="Null when it is the tail of all services.")
    text: str
    live: bool = Field(description="False: kept from when the sandbox ended.")


class Usage(Schema):
    now: Sample | None = Field(description="The last sample; null until there is one.")
    samples: list[Sample] = Field(description="Oldest first.")
    limits: Size


class Bounds(Schema):
    default: int
    min: int
    max: int


class Limits(Schema):
    limit: int = Field(description="How many sandboxes may be active at once.")
    active: int
    can_launch: bool
    reason: str | None = Field(description="Why none can be launched now, in a sentence.")
    estimated_wait_seconds: int
    retry_at: datetime | None
    frees_first: str | None = Field(description="Which of your sandboxes frees a place first.")
    ttl_minutes: Bounds
    extension_max_minutes: int
    hard_cap_minutes: int
    idle_minutes: int
    sandbox: Size
    isolated: bool = Field(
        description="False in trial mode: sandboxes are not kept apart from each other."
    )


class Blueprint(Schema):
    name: str
    title: str
    description: str
    seed: dict[str, int]
    default: bool
    can_launch: bool = Field(
        description="False when it can't run here, or an operator has switched it off."
    )


class BlueprintList(Schema):
    data: list[Blueprint]


class FieldError(Schema):
    field: str
    message: str


class Problem(Schema):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class InvalidProblem(Problem):
    errors: list[FieldError]


class QuotaProblem(Problem):
    estimated_wait_seconds: int
    retry_at: datetime
    limit: int
    active: int | None = Field(default=None, description="Of sandboxes, where the limit is theirs.")
    frees_first: str | None = Field(default=None, description="Which of your sandboxes that is.")
