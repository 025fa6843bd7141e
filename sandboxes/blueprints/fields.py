"""Types and validators of single values in a blueprint."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

MB = 1024 * 1024
UNITS = {"": 1, "b": 1, "k": 1024, "m": MB, "g": 1024 * MB}
DEFAULT_TMPFS_MB = 16


def reject(message: str, remedy: str) -> NoReturn:
    """Reject a value. Raises the error that pydantic collects."""
    raise PydanticCustomError("blueprint", "{message}", {"message": message, "remedy": remedy})


def megabytes(value: Any) -> int:
    """Convert `320m`, `1g` or a number of bytes to MB."""
    match = re.fullmatch(r"(\d+)\s*([bkmg]?)b?", str(value).lower())
    if not match or int(match[1]) * UNITS[match[2]] < MB:
        reject("Invalid size.", "Write whole megabytes or gigabytes, for example 320m or 1g.")
    return int(match[1]) * UNITS[match[2]] // MB


def command_words(value: Any) -> Any:
    """Return a command as a list; a line is split like in a shell."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        reject(f"This command can't be split into words: {error}.", "Write the command as a list.")


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


def port_numbers(value: Any) -> Any:
    """Validate container ports; the runtime decides where they are published."""
    if not isinstance(value, list):
        return value
    if not all(re.fullmatch(r"\d{1,5}", str(port)) and 0 < int(port) < 2**16 for port in value):
        reject(
            "Only container ports can be listed.",
            'Write the port inside the container, for example "5432"; '
            "the runtime publishes it on a free port of SANDBOX_BIND_ADDRESS.",
        )
    return [int(port) for port in value]


def tmpfs_sizes(value: Any) -> Any:
    """Convert `/tmp` or `/tmp:size=16m`, single or in a list, to sizes in MB by path."""
    if not isinstance(value, (str, list)):
        return value
    sizes = {}
    for item in [value] if isinstance(value, str) else value:
        match = re.fullmatch(r"(/[^:]*)(?::size=([^,]+))?", str(item))
        if not match:
            reject("Invalid mount point.", 'Write a path and a size: "/tmp:size=16m".')
        sizes[match[1]] = megabytes(match[2]) if match[2] else DEFAULT_TMPFS_MB
    return sizes


def service_names(value: Any) -> Any:
    """Return the names of services; conditions are rejected, as containers start in parallel."""
    if not isinstance(value, dict):
        return value
    started = {"condition": "service_started"}
    if any(condition not in (None, {}, started) for condition in value.values()):
        reject(
            "Services are started in parallel.",
            "Remove the condition, and let the service itself wait for the other service.",
        )
    return list(value)


def authentication(value: Any) -> Any:
    """Convert `none` to a mapping, in which authentication may have more details."""
    return {"type": value or "none"} if value is None or isinstance(value, str) else value


def only(required: Any, reason: str) -> AfterValidator:
    """Accept only the value that always applies, so that a file may state it for other readers."""

    def check(value: Any) -> Any:
        if value != required:
            reject(reason, f"Remove it, or write {required}.")
        return value

    return AfterValidator(check)


def name_matching(pattern: str, alphabet: str) -> AfterValidator:
    """Validate a name that becomes part of other names, for example of a container."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            reject("Invalid name.", f"Choose a short name of {alphabet}.")
        return value

    return AfterValidator(check)


def confining_options(value: list[str]) -> list[str]:
    """Reject security options that would relax the confinement."""
    if any(option not in ("no-new-privileges", "no-new-privileges:true") for option in value):
        reject(
            "This would weaken the confinement: the engine's default profiles always apply.",
            "Remove it, or write no-new-privileges:true, which always applies.",
        )
    return value


def no_root(value: str) -> str:
    """Reject root as the user of a service."""
    if value.partition(":")[0] in ("root", "0"):
        reject("Services don't run as root.", "Name a user of the image, or a user id above 0.")
    return value


def regular_expression(value: str) -> str:
    """Validate a regular expression of Python's `re`."""
    try:
        re.compile(value)
    except re.error as error:
        reject(f"Invalid regular expression: {error}.", "Use the syntax of Python's `re` module.")
    return value


def no_restart(value: Any) -> Any:
    """Reject restart policies."""
    if value not in (False, "no"):
        reject(
            "Services are not restarted: a service that stops ends its sandbox, with the reason.",
            'Remove it, or write "no".',
        )
    return value


Megabytes = Annotated[int, BeforeValidator(megabytes)]
Command = Annotated[tuple[str, ...], BeforeValidator(command_words)]
ServiceName = Annotated[
    str, name_matching(r"[a-z0-9][a-z0-9_-]{0,30}", "lower-case letters and digits")
]
SecretName = Annotated[str, name_matching(r"[A-Z][A-Z0-9_]{0,60}", "capital letters, digits and _")]
BlueprintName = Annotated[
    str, name_matching(r"[a-z][a-z0-9_-]{0,39}", "lower-case letters and digits")
]
PublicName = Annotated[
    str, name_matching(r"[A-Za-z][A-Za-z0-9_-]{0,39}", "letters, digits, _ and -")
]
"""A name that the API, `.env` files and pages show."""
PositiveInt = Annotated[int, Field(gt=0)]
UrlPath = Annotated[str, Field(pattern=r"^/[!-~]*$")]
RegularExpression = Annotated[str, Field(min_length=1), AfterValidator(regular_expression)]
