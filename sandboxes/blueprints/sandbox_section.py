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
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from sandboxes.blueprints import parameters
from sandboxes.blueprints.auth import AuthType
from sandboxes.blueprints.blueprint import Access
from sandboxes.blueprints.compose.models import Bytes, Cpus, parsed_by
from sandboxes.blueprints.fields import (
    Command,
    CredentialHeader,
    CredentialText,
    EndpointUrl,
    Environment,
    LabelPart,
    LinearPattern,
    ParameterName,
    Port,
    PositiveInt,
    PublicName,
    RegularExpression,
    SecretName,
    ShortJson,
    Title,
    UrlPath,
    UserName,
    VariableName,
    VariableText,
    VariableValue,
    authentication,
    megabytes,
    one_line,
    parameter_type,
    patterns_that_fit,
    scalar,
    whole_minutes,
)
from sandboxes.blueprints.parameters import MAX_INTEGER, MAX_TEXT_LENGTH, ParameterType

MAX_BYTES_OF_CHARACTER = 4
"""In UTF-8."""

Megabytes = Annotated[
    Bytes, AfterValidator(megabytes), WithJsonSchema({"type": "string", "format": "size"})
]
Minutes = Annotated[
    int, parsed_by(whole_minutes), WithJsonSchema({"type": "string", "format": "duration"})
]


class StrictModel(BaseModel):
    """An immutable model that rejects unknown keys; docs/blueprints.md describes its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Secret(StrictModel):
    """A random value, different in each sandbox; 22 letters and digits are 130 bits."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,20}$")] = ""
    """How each value begins."""
    length: Annotated[int, Field(ge=22, le=128)] = 32
    """Characters of the random part."""


class Parameter(StrictModel):
    """A value that is chosen at launch; a variable of the same name contains it."""

    type: Annotated[ParameterType, BeforeValidator(parameter_type)]
    """The type of its values."""
    default: Annotated[StrictBool | StrictInt | StrictStr, BeforeValidator(scalar)]
    """The value of launches that choose none."""
    title: Title = ""
    """Label in the form; by default, the name of the parameter."""
    help: Annotated[str, Field(max_length=300), AfterValidator(one_line)] = ""
    """Text below the field."""
    values: Annotated[tuple[VariableText, ...], Field(max_length=50)] = ()
    """For `enum`: the values to choose from."""
    minimum: Annotated[StrictInt, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] = -MAX_INTEGER
    """For `integer`."""
    maximum: Annotated[StrictInt, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] = MAX_INTEGER
    """For `integer`."""
    pattern: LinearPattern = ""
    """For `string`: matches the whole text, in the syntax of Rust's `regex`."""
    max_length: Annotated[StrictInt, Field(ge=1, le=MAX_TEXT_LENGTH)] = MAX_TEXT_LENGTH
    """For `string`."""

    @property
    def longest_value(self) -> int:
        """Bytes that a value has at most."""
        match self.type:
            case ParameterType.STRING:
                return self.max_length * MAX_BYTES_OF_CHARACTER
            case ParameterType.ENUM:
                return max((len(value.encode()) for value in self.values), default=0)
            case _:
                return len(str(-MAX_INTEGER))

    def definition(self, name: str) -> parameters.Parameter:
        """Return the parameter with its title, which defaults to its name."""
        return parameters.Parameter(
            type=self.type,
            default=self.default,
            title=self.title or name.replace("_", " ").capitalize(),
            help=self.help,
            values=self.values,
            minimum=self.minimum,
            maximum=self.maximum,
            pattern=self.pattern,
            max_length=self.max_length,
        )


class Auth(StrictModel):
    """How clients authenticate to the API of an endpoint."""

    type: AuthType = AuthType.NONE
    """How the credential is sent ([below](#authentication-of-an-api))."""
    credential: str = ""
    """Name of the credential."""
    name: CredentialHeader = ""
    """For `header`: name of the header."""
    username: Annotated[str, Field(pattern=r"^[ -9;-~]{0,60}$")] = ""
    """For `basic`."""


class Endpoint(StrictModel):
    """A published port that developers see; `bearer: x` is short for a type and a credential."""

    service: str
    """The service that listens."""
    port: Port
    """Its port inside of the container, which is then published."""
    url: EndpointUrl = "http://{host}:{port}"
    """What developers see, with `{host}` and `{port}` in it."""
    openapi: UrlPath = ""
    """For an API that the explorer can call: path of its OpenAPI document (3.0 or 3.1, JSON)."""
    auth: Annotated[Auth, BeforeValidator(authentication)] = Auth()
    """`none`, or how clients authenticate ([below](#authentication-of-an-api))."""
    bearer: str = ""
    """A credential; short for `auth` of the type `bearer`."""
    identity: UrlPath = ""
    """Path at which the API proves that it knows the credential, before the explorer sends it
    ([below](#identity-of-an-api))."""


class Credential(StrictModel):
    """A value that gives developers access."""

    value: CredentialText
    """With variables in it, such as `${API_KEY}`, and `{host}` and `{port}` of the endpoint."""
    endpoint: str = ""
    """The endpoint whose address the value contains."""


class Ready(StrictModel):
    """What succeeds once the sandbox is ready.

    A path of an endpoint or a port answers 200; without a path, the port accepts connections; a
    command of a service exits with 0; or, with nothing but a service, its health check succeeds.
    """

    endpoint: str = ""
    """The endpoint that must answer."""
    service: str = ""
    """Instead of an endpoint: the service that must answer."""
    port: Port | None = None
    """Port of the service, which must accept connections."""
    path: UrlPath = ""
    """Path of which a GET must return 200."""
    command: Command = ()
    """Command that must exit with 0 in the service."""


class Reset(StrictModel):
    """The service and command that restore the seed data."""

    service: str
    """Where the command runs."""
    command: Command
    """Exit code 0 means that all of the data is restored; otherwise, the command should have
    changed nothing."""
    process: Command = ()
    """The command in trial mode ([below](#process-without-an-engine))."""


class Rekey(StrictModel):
    """The command that sets the credentials of a new sandbox in the data of a save point."""

    command: Command
    """Runs in the service, again until it exits with 0, before the sandbox is ready."""
    process: Command = ()
    """The command in trial mode ([below](#process-without-an-engine))."""


class RequestLog(StrictModel):
    """Where an API lists the requests that it got, for the portal to show and to repeat."""

    endpoint: str
    """The API that has the list."""
    secret: str
    """The secret that the portal sends as a bearer token."""
    path: UrlPath
    """Path of the list."""


class Requests(StrictModel):
    """Lines of a service's log that record a request: those that begin with this expression."""

    service: str
    """The service whose log is read."""
    line: RegularExpression
    """Regular expression that matches the beginning of such a line."""
    log: RequestLog | None = None
    """Where the portal reads the requests themselves ([below](#requests-events-and-clock))."""


class Events(StrictModel):
    """How the portal reads events and webhook endpoints of a sandbox, and records deliveries."""

    endpoint: str
    """The API that offers them; all paths are its own."""
    secret: str
    """The secret that the portal sends as a bearer token."""
    list: UrlPath
    """Path of the events, with `{cursor}`, `{limit}` and `{wait}` in it."""
    first: Annotated[str, Field(pattern=r"^[!-~]{1,100}$")]
    """The cursor before the first event."""
    endpoints: UrlPath = ""
    """Path of the enabled webhook endpoints."""
    deliveries: UrlPath = ""
    """Path to which the portal posts each attempt to deliver."""
    create: UrlPath = ""
    """Path to which the portal posts an event that a developer wants."""


class Transfers(StrictModel):
    """How a sandbox learns of transfers to its account, which the portal looks for."""

    endpoint: str
    """The API that wants to know; both paths are its own."""
    secret: str
    """The secret that the portal sends as a bearer token."""
    expected: UrlPath
    """Path of the transfers that the sandbox waits for."""
    report: UrlPath
    """Path to which the portal posts what it found."""


class Clock(StrictModel):
    """Where the clock of a sandbox is read (GET) and moved (POST)."""

    endpoint: str
    """The API that has the clock."""
    path: UrlPath
    """Path of the clock."""


class FirstCall(StrictModel):
    """The request that snippets show, and an excerpt of its answer on fresh data."""

    endpoint: str = ""
    """By default, the API, or else the first endpoint with an http URL."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """Method of the request."""
    path: UrlPath
    """Path of the request."""
    body: ShortJson = None
    """Sent as JSON."""
    answer: ShortJson = None
    """An excerpt of the answer on fresh data."""


class Process(StrictModel):
    """How a service runs as a process; paths are relative to the blueprint's folder."""

    command: Annotated[Command, Field(min_length=1)]
    """Runs in the service's own copy of the directory. `python` is the portal's Python."""
    environment: Environment = {}
    """Adds to the service's environment, or overrides it. `{port}` is the service's own first port,
    `{db:5432}` the address of another service. Both differ in every sandbox."""
    files: Annotated[list[str], Field(max_length=50)] = []
    """Files and folders of the blueprint, which are added to the service's Python path."""
    requirements: str = ""
    """A file with packages and their hashes, which are installed without their dependencies."""
    prepare: Command = ()
    """A command that runs once. Every sandbox gets a copy of the directory that it fills."""


class Lifetime(StrictModel):
    """How long a sandbox lives if the launch names no time, and at most with extensions."""

    default: Minutes | None = None
    """If the launch request names none."""
    max: Minutes | None = None
    """With extensions."""


class Limits(StrictModel):
    """Limits in place of the portal's, and at most these."""

    memory: Megabytes | None = None
    """Of all services together."""
    cpus: Annotated[Cpus, Field(ge=0.01)] | None = None
    """Of all services together."""
    disk: Megabytes | None = None
    """Of all services together, shared volumes included."""
    lifetime: Lifetime = Lifetime()
    """Time from launch until the sandbox expires."""
    idle_timeout: Minutes | None = None
    """Time without activity after which the sandbox ends."""
    active_per_user: PositiveInt | None = None
    """Active sandboxes of this blueprint that a user may have."""


class SandboxSection(StrictModel):
    """What the portal needs to know of a sandbox in addition to Compose's keys."""

    title: Title = ""
    """What developers choose; by default, the name of the blueprint."""
    description: Annotated[str, Field(max_length=2000), AfterValidator(one_line)] = ""
    """Shown to developers when they choose a blueprint."""
    secrets: Annotated[dict[SecretName, Secret], Field(max_length=100)] = {}
    """Variables with a random value for each sandbox. Names have capital letters."""
    variables: Annotated[dict[VariableName, VariableValue], Field(max_length=500)] = {}
    """Variables that are the same in all sandboxes, such as `{TAG: "1.2"}`."""
    parameters: Annotated[
        dict[ParameterName, Parameter], Field(max_length=20), BeforeValidator(patterns_that_fit)
    ] = {}
    """Variables that a launch chooses ([above](#parameters))."""
    profiles: Annotated[list[str], Field(max_length=100)] = []
    """Profiles of the Compose file that are active."""
    root: Annotated[list[str], Field(max_length=100)] = []
    """Services that may run as root, with the capabilities CHOWN, DAC_OVERRIDE, FOWNER, KILL,
    SETGID and SETUID, if `SANDBOX_ROOT_SERVICES` allows it."""
    users: Annotated[dict[str, UserName], Field(max_length=100)] = {}
    """The user of each service, by name or number, in place of the Compose file's `user` and the
    image's, such as `{db: postgres, api: "1000"}`."""
    endpoints: Annotated[dict[PublicName, Endpoint], Field(max_length=50)] = {}
    """Addresses that developers see. Names have letters, digits, `_` and `-`."""
    credentials: Annotated[dict[PublicName, Credential], Field(max_length=50)] = {}
    """Values that developers sign in with. They are shown on request, which the activity log
    records; only the key of the API is also in the command that opens the card of a new sandbox."""
    ready: Annotated[list[Ready], Field(max_length=50)] = []
    """What must succeed before the sandbox is ready; by default, all health checks, and connections
    to the ports of the other services."""
    reset: Reset | None = None
    """How the seed data is restored within 20 seconds. Where it fails, or without this key, the
    portal recreates the services from their images, with the same addresses and credentials."""
    rekey: Annotated[dict[str, Rekey], Field(max_length=100)] = {}
    """By service, how a sandbox that starts with the data of a
    [save point](save-points.md#credentials) gets credentials of its own. Without it, a blueprint
    with secrets can't be launched from save points."""
    requests: Requests | None = None
    """For an API that logs one line per request: the lines that the portal counts. Without it, the
    portal shows traffic in bytes."""
    events: Events | None = None
    """How the sandbox offers events, which the portal delivers
    ([below](#requests-events-and-clock))."""
    transfers: Transfers | None = None
    """Transfers to the account of the sandbox ([below](#requests-events-and-clock))."""
    clock: Clock | None = None
    """The clock of the sandbox ([below](#requests-events-and-clock))."""
    first_call: FirstCall | None = Field(
        default=None, validation_alias=AliasChoices("first_call", "example")
    )
    """The request that new cards, snippets and the sign-in page show; by default, a GET of `/`. The
    old name of this key is `example`."""
    process: Annotated[dict[str, Process], Field(max_length=100)] = {}
    """How services run without an engine ([below](#process-without-an-engine)). Without it, the
    blueprint can be launched only on an engine."""
    seed: Annotated[
        dict[Title, Annotated[int, Field(ge=0, le=MAX_INTEGER)]], Field(max_length=50)
    ] = {}
    """The number of objects of each kind in a new sandbox, which welcome and sign-in pages show."""
    limits: Limits = Limits()
    """Limits in place of the portal's ([above](#limits))."""
    access: Access = Access.OPEN
    """`owner` lets the [gateway](gateway.md#access) admit only the sandbox's owner to its HTTP
    endpoints, for stacks without authentication of their own. With `open`, everyone who knows the
    address reaches them."""
    engine_selector: Annotated[dict[LabelPart, LabelPart], Field(max_length=20)] = {}
    """Labels that an engine must have to get sandboxes of this blueprint, such as `{disk: ssd}`
    ([several engines](operations.md#several-engines))."""
    egress: bool = False
    """Whether services reach other networks, and not only each other."""
    stellar: bool = False
    """Whether each sandbox gets an account on a public test network, which the portal funds. Its
    public key is on the card and in `${SANDBOX_STELLAR_PUBLIC_KEY}`, its secret among the
    credentials."""

    def longest_values(self) -> dict[str, int]:
        """Return the bytes that the variables of a sandbox have at most."""
        secrets = {name: len(one.prefix) + one.length for name, one in self.secrets.items()}
        return secrets | {name: one.longest_value for name, one in self.parameters.items()}
