"""Response bodies of the API and of webhooks. Times are in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema
from pydantic import BaseModel, ConfigDict

from sandboxes.blueprints import Access
from sandboxes.blueprints.parameters import ParameterType
from sandboxes.models import EndReason, Funding, SavePointState, State
from sandboxes.representations.usage_schemas import Peak, Sample


class Step(Schema):
    name: str
    label: str
    state: Literal["waiting", "running", "done", "failed"]
    started_at: datetime | None
    seconds: float | None
    usual_seconds: float | None = Field(
        description="Median duration of this step in recent launches; null once the sandbox runs."
    )


class Extension(Schema):
    used: bool
    max_minutes: int = Field(
        description="Minutes that an extension would add now; 0 if none is possible."
    )


class Endpoints(BaseModel):
    """URLs of the sandbox by the names of its blueprint; null unless it runs.

    The listed names are always there, and null if the blueprint doesn't have them.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | None] = Field(init=False)

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
        description="Estimated seconds until the sandbox runs, based on recent launches. Null if "
        "it isn't starting, if it takes longer than usual, or if there were no recent launches."
    )
    created_at: datetime
    started_at: datetime | None
    expires_at: datetime | None
    idle_expires_at: datetime | None
    hard_cap_at: datetime | None
    ends_at: datetime | None = Field(description="Earliest scheduled end.")
    ends_because: Literal["idle", "expired", "cap"] | None = Field(
        description="Which deadline `ends_at` is. `cap`: the maximum lifetime."
    )
    summary: str = Field(description="A sentence on its status and its end.")
    problem: str | None = Field(
        description="What is broken although it runs; null if everything responds."
    )
    unreachable_since: datetime | None = Field(
        description="Since when its machine doesn't respond, once it can be replaced. Null if it "
        "responds."
    )
    ended_at: datetime | None
    end_reason: EndReason | None
    end_message: str | None = Field(
        description="What ended it, or the reason that an operator gave for ending it."
    )
    failure: Failure | None
    advice: str | None = Field(
        description="A sentence on what to do after an end that you didn't choose."
    )
    peak: Peak | None = Field(
        description="Highest usage of an ended sandbox; null if there were no samples."
    )
    extension: Extension
    heartbeat_seconds: int | None = Field(
        description="How long it outlives its client; null if it expects no heartbeats."
    )
    heartbeat_expires_at: datetime | None
    reset_pending: bool = Field(description="Also while it is restored to a save point.")
    launched_from: str | None = Field(
        description="The save point with whose data it started; null for the seed."
    )
    parameters: dict[str, str | int | bool] = Field(
        description="What was chosen at launch, and the defaults of the blueprint's others."
    )
    metadata: dict[str, str]
    endpoints: Endpoints
    stellar: Stellar | None = Field(description="Null unless its blueprint asks for an account.")
    limits: Size


class SavePoint(Schema):
    id: str = Field(examples=["sp_0123456789abcdef"])
    name: str
    sandbox: str | None = Field(
        description="The sandbox whose data it has; null once that is forgotten."
    )
    blueprint: str
    parameters: dict[str, str | int | bool]
    state: SavePointState
    error: str | None = Field(description="Why it failed; null otherwise.")
    size_mb: float = Field(description="Space that it takes; 0 until it is ready.")
    pause_seconds: float | None = Field(
        description="How long the services were paused; null until it is ready."
    )
    starting_point: bool = Field(description="Whether everybody may launch from it.")
    created_at: datetime
    expires_at: datetime | None = Field(
        description="When it is deleted; null for a starting point, which stays."
    )


class SavePointPage(BaseModel):
    data: list[SavePoint]
    has_more: bool
    next_cursor: str | None


# Not a Schema of django-ninja, which would validate each sandbox a second time.
class SandboxPage(BaseModel):
    data: list[Sandbox]
    has_more: bool
    next_cursor: str | None


class SandboxSummary(BaseModel):
    """The fields of a sandbox that a list needs, all of them as in the whole sandbox."""

    id: str = Field(examples=["sbx_0123456789abcdef"])
    name: str
    blueprint: str
    state: State
    created_at: datetime
    expires_at: datetime | None
    ends_at: datetime | None = Field(description="Earliest scheduled end.")
    ended_at: datetime | None
    end_reason: EndReason | None
    metadata: dict[str, str]


class SandboxSummaryPage(BaseModel):
    data: list[SandboxSummary]
    has_more: bool
    next_cursor: str | None


class ExtensionGranted(Schema):
    minutes: int = Field(description="May be less than requested, because of `hard_cap_at`.")
    created_at: datetime
    expires_before: datetime
    expires_at: datetime
    sandbox: Sandbox


class Credentials(BaseModel):
    """Credentials of the sandbox by the names of its blueprint.

    The listed names are always there, and null if the blueprint doesn't have them.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)

    api_key: str | None = None
    database_url: str | None = None
    stellar_secret: str | None = None


class ApiAccess(Schema):
    url: str
    headers: dict[str, str] = Field(description="Headers that authenticate; may be empty.")
    portal_token_header: str | None = Field(
        description=(
            "The header for an API token with the scope `all`, if only the owner may call it; "
            "null if everyone may."
        )
    )


class Connections(Schema):
    """How to use a running sandbox. Contains credentials."""

    apis: dict[str, ApiAccess] = Field(description="HTTP endpoints, by their names.")
    default_api: str | None = Field(
        description="The name in `apis` to use if the user chooses none."
    )
    databases: dict[str, str] = Field(
        description="URLs of databases, with credentials, by the names of those."
    )
    variables: dict[str, str] = Field(
        description="All URLs and credentials, as the portal's `.env` file names them."
    )


class Heartbeat(Schema):
    state: State
    heartbeat_expires_at: datetime = Field(description="When the sandbox ends without another.")


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
    service: str | None = Field(description="Null for the kept log lines of all services.")
    text: str
    live: bool = Field(description="False for log lines kept from an ended sandbox.")


class Usage(Schema):
    now: Sample | None = Field(description="The latest sample; null if there is none.")
    samples: list[Sample] = Field(description="Oldest first.")
    limits: Size


class Bounds(Schema):
    default: int
    min: int
    max: int


class Limits(Schema):
    limit: int = Field(description="Maximum number of active sandboxes.")
    active: int
    can_launch: bool
    reason: str | None = Field(description="Why no sandbox can be launched now.")
    estimated_wait_seconds: int
    retry_at: datetime | None
    frees_first: str | None = Field(description="Your sandbox that ends first.")
    ttl_minutes: Bounds
    extension_max_minutes: int
    hard_cap_minutes: int
    idle_minutes: int
    sandbox: Size
    isolated: bool = Field(
        description="False in trial mode, where sandboxes aren't isolated from each other."
    )


class BlueprintLimits(Size):
    """What a sandbox of the blueprint may have, and how long you may have it."""

    ttl_minutes: Bounds
    hard_cap_minutes: int = Field(description="Maximum lifetime, extensions included.")
    idle_minutes: int
    active_per_user: int = Field(description="Maximum number of your active sandboxes of it.")


class Parameter(Schema):
    """A value that a launch may choose."""

    type: ParameterType
    title: str
    help: str
    default: str | int | bool
    values: list[str] | None = Field(description="What an `enum` takes; otherwise null.")
    minimum: int | None
    maximum: int | None
    pattern: str | None = Field(
        description="Matches the whole string, in the syntax of Rust's `regex`; null if any does."
    )
    max_length: int | None = Field(description="Of a `string`; otherwise null.")


class Blueprint(Schema):
    name: str
    title: str
    description: str
    seed: dict[str, int]
    parameters: dict[str, Parameter]
    default: bool
    can_launch: bool = Field(
        description="False if this portal can't run it or an operator has disabled it."
    )
    access: Access = Field(
        description="Who reaches its HTTP endpoints: everyone (`open`), or only the owner of the "
        "sandbox (`owner`), with the Portal-Token header. The portal needs a gateway for it."
    )
    limits: BlueprintLimits


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
    active: int | None = Field(
        default=None, description="Number of active sandboxes; null for rate limits."
    )
    frees_first: str | None = Field(default=None, description="Your sandbox that ends first.")
