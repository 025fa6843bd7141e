"""Validate `x-sandbox.process`: how the services of a blueprint run as processes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sandboxes.blueprints.compose.findings import Malformed, listed, shortened
from sandboxes.blueprints.compose.launchable import check_names
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.section_context import SectionContext, Violation

KEY = "x-sandbox.process"
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def validate(parsed: SectionContext, files: SourceFiles, folder: Path) -> Iterator[Violation]:
    """Yield all contradictions in the section; none if the section is omitted."""
    if not parsed.sandbox.process:
        return
    yield from _check_services(parsed)
    yield from _check_files(parsed, files, folder)
    yield from _check_placeholders(parsed)
    reset = parsed.sandbox.reset
    if reset and not reset.process:
        message = "A command that restores the data on the process runtime is missing."
        yield "x-sandbox.reset.process", message, "Write the command as a list of words."
    for name, rekey in parsed.sandbox.rekey.items():
        if not rekey.process:
            message = "A command that sets the credentials on the process runtime is missing."
            yield f"x-sandbox.rekey.{name}.process", message, "Write it as a list of words."


def _check_services(parsed: SectionContext) -> Iterator[Violation]:
    services, described = set(parsed.services), set(parsed.sandbox.process)
    for name in sorted(described - services):
        known = listed(parsed.services)
        yield (
            f"{KEY}.{name}",
            f"Unknown service {shortened(name)}.",
            f"Name one of the services: {known}.",
        )
    for name in sorted(services - described):
        message = f"The service {name} is missing: a sandbox needs all of its services."
        yield KEY, message, f"Add {name}, or remove the whole section."


def _check_files(parsed: SectionContext, files: SourceFiles, folder: Path) -> Iterator[Violation]:
    for name, process in parsed.sandbox.process.items():
        for file in filter(None, [*process.files, process.requirements]):
            try:
                if not files.resolve(folder / file).exists():
                    message = f"File not found: {file}."
                    yield f"{KEY}.{name}", message, "Write paths relative to this file."
            except Malformed as error:
                yield f"{KEY}.{name}", str(error), error.remedy


def _check_placeholders(parsed: SectionContext) -> Iterator[Violation]:
    known = {f"{name}:{port}" for name, ports in parsed.services.items() for port in ports}
    for name, process in parsed.sandbox.process.items():
        for path, message, remedy in check_names(process.environment, ("environment",)):
            yield f"{KEY}.{name}.{'.'.join(map(str, path))}", message, remedy
        own = {"port"} if parsed.services.get(name) else set()
        for variable, text in process.environment.items():
            for placeholder in dict.fromkeys(PLACEHOLDER.findall(text.replace("${", ""))):
                if placeholder not in known | own:
                    yield (
                        f"{KEY}.{name}.environment.{variable}",
                        f"Unknown placeholder {{{shortened(placeholder)}}}.",
                        "Write {port} for the service's own port, or for example {db:5432}.",
                    )
