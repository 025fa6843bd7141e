"""Check that the engine can start a service with every value that a file gives it.

Linux limits the strings that a program starts with, and the socket proxy the rest
(`deploy/socket_proxy/`). Variables count with the longest value that a sandbox can have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sandboxes.blueprints.compose.findings import shortened
from sandboxes.blueprints.compose.reading.variables import Variables
from sandboxes.blueprints.compose.tree import KeyPath
from sandboxes.blueprints.compose.values import MAX_PORTS
from sandboxes.runtime import ServiceSpec

MAX_STRING = 128 * 1024 - 1
"""Bytes of one argument or variable that Linux takes, without the NUL at its end."""
MAX_STRINGS = 1024 * 1024
"""Bytes of all arguments and variables together; Linux takes a quarter of the stack's 8 MB."""
MAX_ITEMS = 1000
MAX_MOUNTS = 20
"""File systems in memory, and as many volumes that services share."""

Violation = tuple[KeyPath, str, str]
"""Path below the service, message, remedy."""
READ_A_FILE = "Shorten it, or let the service read it from a mounted file."


def check_service(service: ServiceSpec, variables: Variables) -> Iterator[Violation]:
    """Yield the values of a service with which the engine can't start it."""
    yield from check_names(service.environment, ("environment",))
    strings = dict(_strings(service))
    sizes = {path: variables.longest_bytes(text) for path, text in strings.items()}
    for path, size in sizes.items():
        if size > MAX_STRING:
            message = f"A program starts with at most {MAX_STRING // 1024} KB in one text."
            yield path, message, READ_A_FILE
    secrets = [variables.longest_bytes(file.content) for file in service.secret_files.values()]
    if sum(sizes.values()) + sum(secrets) > MAX_STRINGS:
        most = f"{MAX_STRINGS // 1024**2} MB"
        message = f"The environment, the command and the secrets have more than {most} together."
        yield (), message, "Shorten them, or let the service read them from mounted files."
    yield from _check_numbers(service)


def check_names(environment: Mapping[str, str], path: KeyPath) -> Iterator[Violation]:
    """Yield the names that no variable of a process can have."""
    for name in environment:
        if not name or "=" in name or "\0" in name:
            message = f"“{shortened(name)}” can't be the name of a variable."
            yield (*path, name) if name else path, message, "Write a name without `=`."


def _strings(service: ServiceSpec) -> Iterator[tuple[KeyPath, str]]:
    for name, value in service.environment.items():
        yield ("environment", name), f"{name}={value}"
    check = service.healthcheck.command if service.healthcheck else ()
    commands: Mapping[KeyPath, Sequence[str]] = {
        ("command",): service.command,
        ("entrypoint",): service.entrypoint,
        ("healthcheck", "test"): check,
    }
    for path, words in commands.items():
        yield from (((*path, index), word) for index, word in enumerate(words))


def _check_numbers(service: ServiceSpec) -> Iterator[Violation]:
    words = [*service.entrypoint, *service.command]
    check = service.healthcheck.command if service.healthcheck else ()
    in_memory = {*service.tmpfs} | ({""} if service.secret_files else set())
    numbers: Sequence[tuple[str, int, int, str]] = (
        ("environment", len(service.environment) + len(service.files), MAX_ITEMS, "variables"),
        ("command", len(words), MAX_ITEMS, "words in the command"),
        ("healthcheck", len(check), MAX_ITEMS, "words in the command"),
        ("ports", len(service.ports), MAX_PORTS, "ports, with those of x-sandbox"),
        ("tmpfs", len(in_memory), MAX_MOUNTS, "file systems in memory, one of them for secrets"),
        ("volumes", len(service.volumes), MAX_MOUNTS, "volumes shared with other services"),
    )
    for key, number, most, what in numbers:
        if number > most:
            yield (key,), f"There are more than {most} {what}.", "Remove some."
