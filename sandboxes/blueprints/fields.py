"""Types and validators of single values in a blueprint."""

from __future__ import annotations

import json
import re
import shlex
import signal
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

from sandboxes.blueprints.compose import values
from sandboxes.blueprints.compose.findings import sentence
from sandboxes.blueprints.parameters import (
    MAX_PATTERN_LENGTH,
    InvalidPattern,
    ParameterType,
    fit_together,
    matches,
)
from sandboxes.runtime.line_count import MAX_CHOICES, is_fast, matcher

MIN_SIZE_MB = 16
MINUTE = 60
MAX_DIRECTORY_LENGTH = 200
MAX_PATH_LENGTH = 1000
MAX_NAME_BYTES = 255
"""Of a file, in the file systems of Linux."""
MAX_SIGNAL = 64
REALTIME_SIGNAL = re.compile(r"SIGRTM(?:IN\+|AX-)\d{1,2}", re.ASCII)
USER = re.compile(
    r"(?:[A-Za-z_][A-Za-z0-9_.-]{0,31}|0|[1-9][0-9]{0,8})"
    r"(?::(?:[A-Za-z_][A-Za-z0-9_.-]{0,31}|0|[1-9][0-9]{0,8}))?"
)
HEADERS_OF_CLIENTS = {
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers that clients and proxies set themselves (RFC 9110, RFC 9112)."""
PATTERN_SYNTAX = (
    f"Use at most {MAX_PATTERN_LENGTH} characters, without look-around and backreferences, such as "
    "[a-z]{2,20}."
)


MAX_IMAGE_LENGTH = 255
IMAGE = re.compile(
    r"(?:(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?"  # registry
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
"""https://github.com/distribution/reference/blob/main/reference.go"""
URL_REMEDY = "Write the URL that developers use, for example http://{host}:{port}."
SCRIPT_SCHEMES = frozenset({"javascript", "data", "vbscript", "blob", "file", "about"})
MAX_JSON_LENGTH = 20_000


def credential_header(name: str) -> str:
    """Return the name of a header that can carry a credential."""
    if name.lower() in HEADERS_OF_CLIENTS:
        reject(f"{name} is set by clients and proxies.", "Name another header, such as X-Api-Key.")
    return name


def reject(message: str, remedy: str) -> NoReturn:
    """Reject a value. Raises the error that pydantic collects."""
    raise PydanticCustomError("blueprint", "{message}", {"message": message, "remedy": remedy})


def command_words(value: Any) -> Any:
    """Return a command as a list; a line is split like in a shell."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        message = sentence(f"This command can't be split into words: {error}")
        reject(message, "Write the command as a list.")


def environment_variables(value: Any) -> Any:
    """Convert a mapping or a list of `NAME=value` to a mapping of text."""
    if isinstance(value, list):
        pairs = [str(item).partition("=") for item in value]
        if not all(separator for _, separator, _ in pairs):
            reject("A variable has no value.", "Write NAME=value; no value is taken from the host.")
        return {name: text for name, _, text in pairs}
    if not isinstance(value, dict):
        return value
    if any(isinstance(item, bool) or item is None for item in value.values()):
        reject("The value of a variable is not text.", 'Put values in quotes, for example "true".')
    return {name: str(item) for name, item in value.items()}


def variable_text(value: Any) -> Any:
    """Convert a number to text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def listed_text(value: Any) -> Any:
    """Convert a number to text. Raises the error that pydantic collects for other values."""
    if isinstance(value, bool) or value is None:
        reject("This is not text.", 'Put the value in quotes, for example "yes".')
    return variable_text(value)


def parameter_type(value: Any) -> Any:
    """Validate the type of a parameter."""
    if value not in list(ParameterType):
        reject("Unknown type of a parameter.", f"Write one of: {', '.join(ParameterType)}.")
    return value


def scalar(value: Any) -> Any:
    """Validate a value that a parameter of some type may have."""
    if not isinstance(value, str | int):
        reject("This is not a value of a parameter.", "Write text, an integer, true or false.")
    return value


def linear_pattern(value: str) -> str:
    """Validate a regular expression that is matched in linear time."""
    try:
        matches(value, "")
    except InvalidPattern as error:
        reject(sentence(f"Invalid pattern: {error}"), f"{PATTERN_SYNTAX} Or use `type: enum`.")
    return value


def patterns_that_fit(value: Any) -> Any:
    """Validate that the patterns of all parameters need little time and memory together."""
    items = value.values() if isinstance(value, dict) else ()
    patterns = [item.get("pattern") for item in items if isinstance(item, dict)]
    if not fit_together(pattern for pattern in patterns if isinstance(pattern, str)):
        reject(
            "The patterns of the parameters are too large together.",
            r"Repeat less, write [A-Za-z0-9_] in place of \w, or use `max_length`.",
        )
    return value


def authentication(value: Any) -> Any:
    """Convert `none` to a mapping, in which authentication may have more details."""
    return {"type": value or "none"} if value is None or isinstance(value, str) else value


def megabytes(size: int) -> int:
    """Convert bytes to MB; a sandbox needs at least 16."""
    if size < MIN_SIZE_MB * values.MB:
        reject("This is too little for a sandbox.", f"Write at least {MIN_SIZE_MB}m.")
    return size // values.MB


def whole_minutes(value: Any) -> int:
    """Return the minutes of a duration, in which all times of a sandbox are. Raises Malformed."""
    seconds = values.seconds(value)
    if seconds < MINUTE or seconds % MINUTE:
        reject("This isn't a number of minutes.", "Write whole minutes, for example 90m or 2h.")
    return int(seconds // MINUTE)


def name_matching(pattern: str, alphabet: str) -> AfterValidator:
    """Validate a name that becomes part of other names, for example of a container."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            reject("Invalid name.", f"Choose a short name of {alphabet}.")
        return value

    return AfterValidator(check)


def absolute_path(value: str) -> str:
    """Return a path in a container without superfluous slashes and dots."""
    parts = value.split("/")
    if not value.startswith("/") or ".." in parts or "\0" in value:
        reject("Invalid path.", "Write a path that begins with a slash, without `..`.")
    if len(value) > MAX_PATH_LENGTH or max(len(part.encode()) for part in parts) > MAX_NAME_BYTES:
        reject("The path is too long.", f"Use at most {MAX_NAME_BYTES} bytes for each name in it.")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def is_mount_point(path: str) -> bool:
    """Return whether the engine can mount a file system here: the socket proxy allows no others."""
    parts = path.rstrip("/").split("/")[1:]
    plain = all(re.fullmatch(r"(?!\.\.?$)[A-Za-z0-9_.-]+", part) for part in parts)
    return bool(parts) and plain and len(path) <= MAX_DIRECTORY_LENGTH


def mount_point(value: str) -> str:
    """Return the path of a file system that is mounted in a container."""
    path = absolute_path(value)
    if not is_mount_point(path):
        reject("Nothing can be mounted here.", "Write a path of letters, digits and ._- only.")
    return path


def working_directory(value: str) -> str:
    """Validate the working directory of a container; empty stands for the image's own."""
    return absolute_path(value) if value else value


def image_user(value: str) -> str:
    """Validate a user of an image, by name or number, optionally with a group.

    A number is written as the engine prints it, so that none but 0 is root.
    """
    if value == ":":
        return ""  # `${UID}:${GID}`, neither of which is set.
    if value and not USER.fullmatch(value):
        reject("Invalid user.", "Write a name or a number, for example node or 1000:1000.")
    return value


def signal_name(value: str) -> str:
    """Return the name of a signal with its prefix, or its number."""
    name = f"SIG{value.upper().removeprefix('SIG')}"
    known = name in signal.Signals.__members__ or REALTIME_SIGNAL.fullmatch(name)
    if not value or (value.isascii() and value.isdecimal() and 0 < int(value) <= MAX_SIGNAL):
        return value
    if not known:
        reject("Unknown signal.", "Write a name such as SIGINT, or a number from 1 to 64.")
    return name


def image_reference(value: str) -> str:
    """Validate the name of an image, as the engine reads it."""
    if len(value) > MAX_IMAGE_LENGTH or not IMAGE.fullmatch(value):
        reject(
            "Invalid name of an image.", "Write for example postgres:17 or ghcr.io/acme/api:1.2."
        )
    return value


def host_name(value: str) -> str:
    """Validate the host name of a container."""
    if not re.fullmatch(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?)?", value):
        reject("Invalid host name.", "Write at most 63 letters, digits, dots and dashes.")
    return value


def one_line(value: str) -> str:
    """Return a text for people with single spaces between its words."""
    text = " ".join(value.split())
    if not text.isprintable():
        reject("This contains invisible characters.", "Remove control characters.")
    return text


def printable_text(value: str) -> str:
    """Validate a text that becomes part of a line, for example of a `.env` file."""
    if not value.isprintable():
        reject("This contains line breaks or control characters.", "Write one line of text.")
    return value


def endpoint_url(value: str) -> str:
    """Validate the URL of an endpoint, which pages show as a link."""
    scheme, separator, _ = value.partition(":")
    if not re.fullmatch(r"[!-~]+", value):
        reject("Invalid URL.", URL_REMEDY)
    if separator and scheme.strip().lower() in SCRIPT_SCHEMES:
        reject("A browser would run this URL, or read a file of its own.", URL_REMEDY)
    return value


def short_json(value: Any) -> Any:
    """Validate a JSON value that pages and snippets show."""
    if len(json.dumps(value)) > MAX_JSON_LENGTH:
        remedy = f"Write an excerpt of at most {MAX_JSON_LENGTH // 1000} KB."
        reject("This value is too long for a page.", remedy)
    return value


def regular_expression(value: str) -> str:
    """Validate a regular expression of Python's `re` that is compared with lines of logs."""
    try:
        re.compile(value)
        matcher(value)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        reject(
            sentence(f"Invalid regular expression: {error}"),
            "Use the syntax of Python's `re` module.",
        )
    if not is_fast(value):
        reject(
            "Comparing a line with this expression could take very long.",
            "Use no look-around and no backreference. Beside them, use only one of *, + and {}, "
            f"not behind a parenthesis, and at most {MAX_CHOICES} of ? and |.",
        )
    return value


TEXT_OR_NUMBER = WithJsonSchema({"type": ["string", "number"]})
CredentialHeader = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9-]{0,60}$"), AfterValidator(credential_header)
]
Command = Annotated[
    tuple[str, ...],
    BeforeValidator(command_words),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Environment = Annotated[
    dict[str, str],
    BeforeValidator(environment_variables),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number"]}}),
]
SecretName = Annotated[str, name_matching(r"[A-Z][A-Z0-9_]{0,60}", "capital letters, digits and _")]
VariableName = Annotated[
    str, name_matching(r"[A-Za-z_][A-Za-z0-9_]{0,60}", "letters, digits and _")
]
VariableValue = Annotated[str, BeforeValidator(variable_text), TEXT_OR_NUMBER]
VariableText = Annotated[
    str,
    Field(max_length=200),
    BeforeValidator(listed_text),
    AfterValidator(printable_text),
    TEXT_OR_NUMBER,
]
ParameterName = Annotated[
    str, name_matching(r"[A-Za-z_][A-Za-z0-9_]{0,39}", "letters, digits and _")
]
LinearPattern = Annotated[str, AfterValidator(linear_pattern)]
"""A regular expression of Rust's `regex`, which never backtracks."""
BlueprintName = Annotated[
    str, name_matching(r"[a-z][a-z0-9_-]{0,39}", "lower-case letters and digits")
]
PublicName = Annotated[
    str, name_matching(r"[A-Za-z][A-Za-z0-9_-]{0,39}", "letters, digits, _ and -")
]
"""A name that the API, `.env` files and pages show."""
LabelPart = Annotated[
    str,
    name_matching(
        r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", "up to 63 letters, digits, -, _ and ."
    ),
]
"""The key or the value of an engine's label."""
UserName = Annotated[VariableValue, Field(min_length=1), AfterValidator(image_user)]
"""A user of an image by name or number, optionally with a group."""
PositiveInt = Annotated[int, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
UrlPath = Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=1000)]
EndpointUrl = Annotated[str, Field(max_length=500), AfterValidator(endpoint_url)]
Title = Annotated[str, Field(max_length=60), AfterValidator(one_line)]
CredentialText = Annotated[str, Field(max_length=2000), AfterValidator(printable_text)]
ShortJson = Annotated[JsonValue, AfterValidator(short_json)]
RegularExpression = Annotated[
    str, Field(min_length=1, max_length=500), AfterValidator(regular_expression)
]
