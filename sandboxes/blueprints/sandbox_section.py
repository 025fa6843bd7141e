"""The `x-sandbox` section, with which the portal extends Compose, as typed models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StrictStr,
)

from sandboxes.blueprints import parameters
from sandboxes.blueprints.auth import AuthType
from sandboxes.blueprints.blueprint import Access
from sandboxes.blueprints.compose.models import Bytes, Cpus, parsed_by
from sandboxes.blueprints.fields import (
    Command,
    LinearPattern,
    ParameterName,
    PositiveInt,
    PublicName,
    RegularExpression,
    SecretName,
    UrlPath,
    UserName,
    VariableName,
    VariableText,
    VariableValue,
    authentication,
    environment_variables,
    megabytes,
    parameter_type,
    scalar,
    whole_minutes,
)
from sandboxes.blueprints.parameters import MAX_INTEGER, MAX_TEXT_LENGTH, ParameterType

Megabytes = Annotated[Bytes, AfterValidator(megabytes)]
Minutes = Annotated[int, parsed_by(whole_minutes)]


class StrictModel(BaseModel):
    """An immutable model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(StrictModel):
    """A random value, different in each sandbox; 22 letters and digits are 130 bits."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,20}$")] = ""
    length: Annotated[int, Field(ge=22, le=128)] = 32


class Parameter(StrictModel):
    """A value that is chosen at launch; a variable of the same name contains it."""

    type: Annotated[ParameterType, BeforeValidator(parameter_type)]
    default: Annotated[StrictBool | StrictInt | StrictStr, BeforeValidator(scalar)]
    title: Annotated[str, Field(max_length=60)] = ""
    help: Annotated[str, Field(max_length=300)] = ""
    values: Annotated[tuple[VariableText, ...], Field(max_length=50)] = ()
    minimum: Annotated[StrictInt, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] = -MAX_INTEGER
    maximum: Annotated[StrictInt, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] = MAX_INTEGER
    pattern: LinearPattern = ""
    max_length: Annotated[StrictInt, Field(ge=1, le=MAX_TEXT_LENGTH)] = MAX_TEXT_LENGTH

    def definition(self, name: str) -> parameters.Parameter:
        """Return the parameter with its title, which defaults to its name."""
        return parameters.Parameter(
            type=self.type,
            default=self.default,
            title=self.title or name.replace("_", " ").capitalize(),
            help=" ".join(self.help.split()),
            values=self.values,
            minimum=self.minimum,
            maximum=self.maximum,
            pattern=self.pattern,
            max_length=self.max_length,
        )


class Auth(StrictModel):
    """How clients authenticate to the API of an endpoint."""

    type: AuthType = AuthType.NONE
    credential: str = ""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{0,60}$")] = ""
    username: Annotated[str, Field(pattern=r"^[ -9;-~]{0,60}$")] = ""


class Endpoint(StrictModel):
    """A published port that developers see; `bearer: x` is short for a type and a credential."""

    service: str
    port: PositiveInt
    url: str = "http://{host}:{port}"
    openapi: UrlPath = ""
    auth: Annotated[Auth, BeforeValidator(authentication)] = Auth()
    bearer: str = ""
    identity: UrlPath = ""


class Credential(StrictModel):
    """A value that gives developers access."""

    value: str
    endpoint: str = ""


class Ready(StrictModel):
    """What succeeds once the sandbox is ready.

    A path of an endpoint or a port answers 200; without a path, the port accepts connections; a
    command of a service exits with 0; or, with nothing but a service, its health check succeeds.
    """

    endpoint: str = ""
    service: str = ""
    port: PositiveInt | None = None
    path: UrlPath = ""
    command: Command = ()


class Reset(StrictModel):
    """The service and command that restore the seed data."""

    service: str
    command: Command
    process: Command = ()


class Requests(StrictModel):
    """Lines of a service's log that record a request: those that begin with this expression."""

    service: str
    line: RegularExpression


class FirstCall(StrictModel):
    """The request that snippets show, and an excerpt of its answer on fresh data."""

    endpoint: str = ""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: UrlPath
    body: JsonValue = None
    answer: JsonValue = None


class Process(StrictModel):
    """How a service runs as a process; paths are relative to the blueprint's folder."""

    command: Annotated[Command, Field(min_length=1)]
    environment: Annotated[dict[str, str], BeforeValidator(environment_variables)] = {}
    files: list[str] = []
    requirements: str = ""
    prepare: Command = ()


class Lifetime(StrictModel):
    """How long a sandbox lives if the launch names no time, and at most with extensions."""

    default: Minutes | None = None
    max: Minutes | None = None


class Limits(StrictModel):
    """Limits in place of the portal's, and at most these."""

    memory: Megabytes | None = None
    cpus: Annotated[Cpus, Field(ge=0.01)] | None = None
    disk: Megabytes | None = None
    lifetime: Lifetime = Lifetime()
    idle_timeout: Minutes | None = None
    active_per_user: PositiveInt | None = None


class SandboxSection(StrictModel):
    """`x-sandbox`: the information that the portal needs in addition to Compose's keys."""

    title: Annotated[str, Field(max_length=60)] = ""
    description: str = ""
    secrets: dict[SecretName, Secret] = {}
    variables: dict[VariableName, VariableValue] = {}
    parameters: Annotated[dict[ParameterName, Parameter], Field(max_length=20)] = {}
    profiles: list[str] = []
    root: list[str] = []
    users: dict[str, UserName] = {}
    endpoints: dict[PublicName, Endpoint] = {}
    credentials: dict[PublicName, Credential] = {}
    ready: list[Ready] = []
    reset: Reset | None = None
    requests: Requests | None = None
    first_call: FirstCall | None = Field(
        default=None, validation_alias=AliasChoices("first_call", "example")
    )
    process: dict[str, Process] = {}
    seed: dict[str, Annotated[int, Field(ge=0)]] = {}
    limits: Limits = Limits()
    access: Access = Access.OPEN
    egress: bool = False
    stellar: bool = False
