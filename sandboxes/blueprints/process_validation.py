"""Validate `x-sandbox.process`: how the services of a blueprint run as processes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sandboxes.blueprints.compose.models import ComposeFile

Violation = tuple[str, str, str]
"""Key, message, remedy."""

KEY = "x-sandbox.process"
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def validate(parsed: ComposeFile, folder: Path) -> Iterator[Violation]:
    """Yield all contradictions in the section; none if the section is omitted."""
    if not parsed.sandbox.process:
        return
    yield from _check_services(parsed)
    yield from _check_files(parsed, folder)
    yield from _check_placeholders(parsed)
    if not parsed.sandbox.reset.process:
        message = "A command that restores the data on the process runtime is missing."
        yield "x-sandbox.reset.process", message, "Write the command as a list of words."


def _check_services(parsed: ComposeFile) -> Iterator[Violation]:
    services, described = set(parsed.services), set(parsed.sandbox.process)
    for name in sorted(described - services):
        known = ", ".join(parsed.services)
        yield f"{KEY}.{name}", f"Unknown service {name}.", f"Name one of the services: {known}."
    for name in sorted(services - described):
        message = f"The service {name} is missing: a sandbox needs all of its services."
        yield KEY, message, f"Add {name}, or remove the whole section."


def _check_files(parsed: ComposeFile, folder: Path) -> Iterator[Violation]:
    for name, process in parsed.sandbox.process.items():
        for file in filter(None, [*process.files, process.requirements]):
            if not (folder / file).exists():
                message = f"File not found: {(folder / file).resolve()}."
                yield f"{KEY}.{name}", message, "Write paths relative to this file."


def _check_placeholders(parsed: ComposeFile) -> Iterator[Violation]:
    known = {
        f"{name}:{port}" for name, service in parsed.services.items() for port in service.ports
    }
    for name, process in parsed.sandbox.process.items():
        own = {"port"} if name in parsed.services and parsed.services[name].ports else set()
        for variable, text in process.environment.items():
            for placeholder in PLACEHOLDER.findall(text.replace("${", "")):
                if placeholder not in known | own:
                    yield (
                        f"{KEY}.{name}.environment.{variable}",
                        f"Unknown placeholder {{{placeholder}}}.",
                        "Write {port} for the service's own port, or for example {db:5432}.",
                    )
