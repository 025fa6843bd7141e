"""Single values of a blueprint: what is understood, and what is said of the rest."""

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
    """A value that is not understood. Raises what pydantic collects."""
    raise PydanticCustomError("blueprint", "{message}", {"message": message, "remedy": remedy})


def megabytes(value: Any) -> int:
    """`320m`, `1g` or bytes, as MB. Raises through `refuse`."""
    match = re.fullmatch(r"(\d+)\s*([bkmg]?)b?", str(value).lower())
    if not match or int(match[1]) * UNITS[match[2]] < MB:
        reject("This is not a size.", "Write whole megabytes or gigabytes, for example 320m or 1g.")
    return int(match[1]) * UNITS[match[2]] // MB


def command_words(value: Any) -> Any:
    """A command as a list, or as a line that is split as a shell would."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        reject(f"This line can't be split into words: {error}.", "Write the command as a list.")


def environment_variables(value: Any) -> Any:
    """A mapping, or a list of `NAME=value`, as a mapping of text."""
    if isinstance(value, list):
        pairs = [str(item).partition("=") for item in value]
        if not all(separator for _, separator, _ in pairs):
            reject("A variable has no value.", "Write NAME=value; nothing is taken from the host.")
        return {name: text for name, _, text in pairs}
    if not isinstance(value, dict):
        return value
    if any(isinstance(item, bool) or item is None for item in value.values()):
        reject("A variable has no text as its value.", 'Put values in quotes, for example "true".')
    return {name: str(item) for name, item in value.items()}


def port_numbers(value: Any) -> Any:
    """Container ports; where they are published is the runtime's business."""
    if not isinstance(value, list):
        return value
    if not all(re.fullmatch(r"\d{1,5}", str(port)) and 0 < int(port) < 2**16 for port in value):
        reject(
            "A port is not the container's port alone.",
            'Write only the port inside the container, for example "5432": '
            "the runtime publishes it on a free port of SANDBOX_BIND_ADDRESS.",
        )
    return [int(port) for port in value]


def tmpfs_sizes(value: Any) -> Any:
    """`/tmp` or `/tmp:size=16m`, one or a list, as path to size in MB."""
    if not isinstance(value, (str, list)):
        return value
    found = {}
    for item in [value] if isinstance(value, str) else value:
        match = re.fullmatch(r"(/[^:]*)(?::size=([^,]+))?", str(item))
        if not match:
            reject("This is no mount point.", 'Write a path and a size: "/tmp:size=16m".')
        found[match[1]] = megabytes(match[2]) if match[2] else DEFAULT_TMPFS_MB
    return found


def service_names(value: Any) -> Any:
    """Names of services; containers start side by side, so a condition can't be kept."""
    if not isinstance(value, dict):
        return value
    started = {"condition": "service_started"}
    if any(condition not in (None, {}, started) for condition in value.values()):
        reject(
            "Services are started side by side.",
            "Leave the condition away, and have the service wait for the other one itself.",
        )
    return list(value)


def only(wanted: Any, reason: str) -> AfterValidator:
    """Accepts what is in force anyway, so that the file also says it to people and to Compose."""

    def check(value: Any) -> Any:
        if value != wanted:
            reject(reason, f"Remove it, or write {wanted}.")
        return value

    return AfterValidator(check)


def name_matching(pattern: str, alphabet: str) -> AfterValidator:
    """A name that may become part of others: of a container, of a variable."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            reject("This name can't be used.", f"Choose a short name of {alphabet}.")
        return value

    return AfterValidator(check)


def confining_options(value: list[str]) -> list[str]:
    if any(option not in ("no-new-privileges", "no-new-privileges:true") for option in value):
        reject(
            "This would weaken the confinement: the engine's default profiles stay in force.",
            "Remove it, or write no-new-privileges:true, which is in force anyway.",
        )
    return value


def no_root(value: str) -> str:
    if value.partition(":")[0] in ("root", "0"):
        reject("Services don't run as root.", "Name a user of the image, or a number over 0.")
    return value


def regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        reject(f"This is no regular expression: {error}.", "Write one as Python's `re` knows them.")
    return value


def no_restart(value: Any) -> Any:
    if value not in (False, "no"):
        reject(
            "A service that stops ends its sandbox, with the reason; nothing restarts it.",
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
PositiveInt = Annotated[int, Field(gt=0)]
UrlPath = Annotated[str, Field(pattern=r"^/[!-~]*$")]
RegularExpression = Annotated[str, Field(min_length=1), AfterValidator(regular_expression)]
