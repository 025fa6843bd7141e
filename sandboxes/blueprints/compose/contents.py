"""The content of configs and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic_core import PydanticCustomError

from sandboxes.blueprints.compose.findings import Findings, Malformed
from sandboxes.blueprints.compose.models import FileSource, FileUse
from sandboxes.blueprints.compose.mounts import is_of_the_kernel
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.reading.variables import Variables, escape
from sandboxes.blueprints.compose.stack import Stack
from sandboxes.blueprints.compose.tree import KeyPath
from sandboxes.blueprints.fields import absolute_path
from sandboxes.runtime.specs import SECRETS_DIRECTORY

MAX_SECRET_BYTES = 60 * 1024
MAX_SERVICE_BYTES = 512 * 1024
USER_DATABASES = ("/etc/passwd", "/etc/group")
"""Preparing a blueprint checks a service's user with those of its image."""


@dataclass(frozen=True)
class PlannedFile:
    """A file in a container; variables that differ between sandboxes are left in its content."""

    content: str = field(repr=False)
    mode: int


@dataclass
class Contents:
    """The files of all services, and the secrets that stand in for files that are not there."""

    files: dict[str, dict[str, PlannedFile]] = field(default_factory=dict)
    generated: set[str] = field(default_factory=set)
    """Names of variables that need a random value in each sandbox."""


def plan_contents(
    stack: Stack, files: SourceFiles, variables: Variables, findings: Findings
) -> Contents:
    """Return the configs and secrets of all services by path in the container."""
    planner = _Planner(stack, files, variables, findings)
    for name in stack.services:
        planner.result.files[name] = dict(planner.plan(name))
    return planner.result


class _Planner:
    def __init__(
        self, stack: Stack, files: SourceFiles, variables: Variables, findings: Findings
    ) -> None:
        self.stack, self.files, self.variables, self.findings = stack, files, variables, findings
        self.result = Contents()

    def plan(self, service: str) -> Iterator[tuple[str, PlannedFile]]:
        total = 0
        known: set[str] = set()
        for path, use in self._uses(service):
            kind = str(path[2])
            try:
                target = target_of(kind, use)
                if target in known or any(str(parent) in known for parent in Path(target).parents):
                    raise Malformed(
                        "Another config or secret is here already.", "Choose another target."
                    )
                known.add(target)
                content = self._content(kind, use)
                size = self.variables.longest_bytes(content)
                total += size
                if kind == "secrets" and size > MAX_SECRET_BYTES:
                    raise Malformed(
                        f"A secret has at most {MAX_SECRET_BYTES // 1024} KB.", "Shorten it."
                    )
                if total > MAX_SERVICE_BYTES:
                    raise Malformed(
                        f"A service has at most {MAX_SERVICE_BYTES // 1024} KB of configs.",
                        "Mount the files as volumes, which are copied into the image.",
                    )
            except Malformed as error:
                self.findings.malformed(self.stack.place(path), path, error)
                continue
            yield target, PlannedFile(content, use.mode)

    def _uses(self, name: str) -> Iterator[tuple[KeyPath, FileUse]]:
        service = self.stack.services[name]
        for kind, uses in (("configs", service.configs), ("secrets", service.secrets)):
            for index, use in enumerate(uses):
                yield ("services", name, kind, index), use

    def _content(self, kind: str, use: FileUse) -> str:
        sources = self.stack.secrets if kind == "secrets" else self.stack.configs
        source = sources.get(use.source)
        if source is None:
            raise Malformed(f"The top-level `{kind}` has no entry {use.source}.", "Add the entry.")
        if source.content is not None:
            return source.content
        if source.environment:
            return self._variable(source.environment)
        return self._secret(use.source, source) if kind == "secrets" else self._config(source)

    def _variable(self, name: str) -> str:
        value = self.variables.lookup(name)
        if value is None:
            raise Malformed(
                f"The variable {name} is not set.",
                f"Declare {name} in x-sandbox.secrets or x-sandbox.variables, or set it in .env.",
            )
        return value

    def _config(self, source: FileSource) -> str:
        if not source.file:
            raise Malformed(
                "This config has no content.", "Add `file`, `content` or `environment` to it."
            )
        return escape(self.files.text(Path(source.file)))

    def _secret(self, name: str, source: FileSource) -> str:
        """Return a declared secret of that name, the file's content, or else a random value."""
        variable = variable_name(name)
        value = self.variables.lookup(variable)
        if variable in self.variables.per_sandbox and value is not None:
            return value
        if source.file and self.files.resolve(Path(source.file)).exists():
            text = self.files.text(Path(source.file))
            if "\0" in text:
                raise Malformed("The secret contains a NUL character.", "Use a text file.")
            return escape(text)
        self.result.generated.add(variable)
        path = ("secrets", name)
        message = f"This secret has no content here, so each sandbox gets a random {variable}."
        self.findings.note(self.stack.place(path), path, message)
        return "${" + variable + "}"


def target_of(kind: str, use: FileUse) -> str:
    """Return the path of a config or secret in the container. Raises Malformed."""
    directory = SECRETS_DIRECTORY if kind == "secrets" else "/"
    try:
        target = absolute_path(str(Path(directory, use.target or use.source)))
    except PydanticCustomError as error:
        message = str((error.context or {})["message"])
        raise Malformed(message, "Write a short path without `..` in `target`.") from error
    if kind == "secrets" and not is_secret(target):
        raise Malformed(
            f"A secret is kept in memory, below {SECRETS_DIRECTORY}.",
            "Write a name in `target`, and let the service read the file from "
            f"{SECRETS_DIRECTORY}.",
        )
    if target in USER_DATABASES:
        raise Malformed(
            "This file decides which user the service runs as.", "Add users in the image."
        )
    if target == "/" or is_of_the_kernel(target):
        raise Malformed(
            "No file can be put here.", "Write the path of a file, for example /etc/app.conf."
        )
    return target


def is_secret(path: str) -> bool:
    """Return whether a file is kept in memory only."""
    return path.startswith(f"{SECRETS_DIRECTORY}/")


def variable_name(name: str) -> str:
    """Return the variable that a secret corresponds to: `DB_PASSWORD` for `db-password`."""
    found = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    return found if found[:1].isalpha() else f"SECRET_{found}"
