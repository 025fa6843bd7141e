"""An API as groups of operations with their parameters and bodies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from sandboxes.lib.exceptions import ValidationFailed

HEADER_VALUE = re.compile(r"[ -~]*")
PATH_PARAMS = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Field:
    """A property of a body, for the documentation."""

    name: str
    kind: str
    required: bool
    description: str
    choices: Sequence[str] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter; `location` is `path`, `query` or `header`."""

    name: str
    location: str
    required: bool
    description: str
    kind: str
    example: str
    choices: Sequence[str] = ()

    @property
    def key(self) -> str:
        """The name of its form field."""
        return f"{self.location}.{self.name}"


@dataclass(frozen=True)
class Body:
    """A JSON body with an example that can be sent unchanged."""

    required: bool
    example: Any
    fields: Sequence[Field]


@dataclass(frozen=True)
class Details:
    """What a form of an operation shows besides its name."""

    description: str
    parameters: Sequence[Parameter]
    body: Body | None


@dataclass(frozen=True)
class Operation:
    """A method of a path. Its details are read when they are needed first."""

    id: str
    method: str
    path: str
    summary: str
    read_details: Callable[[], Details] = field(compare=False, repr=False)
    read_columns: Callable[[], Sequence[str]] = field(compare=False, repr=False)

    @cached_property
    def _details(self) -> Details:
        return self.read_details()

    @property
    def description(self) -> str:
        return self._details.description

    @property
    def parameters(self) -> Sequence[Parameter]:
        return self._details.parameters

    @property
    def body(self) -> Body | None:
        return self._details.body

    @cached_property
    def columns(self) -> Sequence[str]:
        """Properties of the rows, for lists of the form `{"data": [...]}`."""
        return self.read_columns()

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "{" not in self.path and bool(self.columns)

    @property
    def resource(self) -> str:
        """The last segment of the path, which names what a list contains."""
        return self.path.rstrip("/").rpartition("/")[2]

    def target(self, values: Mapping[str, str]) -> str:
        """Return the path and query for the values by `Parameter.key`.

        Raises ValidationFailed.
        """
        path = PATH_PARAMS.sub(lambda match: self._path_value(match[1], values), self.path)
        query = [
            (one.name, value)
            for one in self.parameters
            if one.location == "query" and (value := values.get(one.key, "").strip())
        ]
        return f"{path}?{urlencode(query)}" if query else path

    def headers(self, values: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return the header parameters that have values. Raises ValidationFailed."""
        found = [
            (one.name, value)
            for one in self.parameters
            if one.location == "header" and (value := values.get(one.key, "").strip())
        ]
        for name, value in found:
            if not HEADER_VALUE.fullmatch(value):
                raise ValidationFailed(name, "Use printable ASCII characters in a header.")
        return found

    def _path_value(self, name: str, values: Mapping[str, str]) -> str:
        value = values.get(f"path.{name}", "").strip()
        if value in ("", ".", ".."):
            raise ValidationFailed(name, "Required: it is part of the path.")
        return quote(value, safe="")


@dataclass(frozen=True)
class Group:
    """Operations on one kind of resource."""

    name: str
    description: str = ""
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Description:
    """A parsed API description."""

    title: str
    description: str
    groups: Sequence[Group]
    document: Mapping[str, Any]

    @cached_property
    def operations(self) -> Mapping[str, Operation]:
        """The operations by their ids."""
        return {one.id: one for group in self.groups for one in group.operations}

    @cached_property
    def lists(self) -> Sequence[Operation]:
        """The operations that list resources."""
        return [one for one in self.operations.values() if one.is_list]

    def related_list(self, operation: Operation) -> Operation | None:
        """Return the list of the operation's resources, by default the first list."""
        group = next((one.operations for one in self.groups if operation in one.operations), [])
        found = (one for one in (*group, *self.lists) if one.is_list)
        return next(found, None)

    def detail_operation(self, listing: Operation) -> Operation | None:
        """Return the operation that reads an item of the list, if any."""
        pattern = re.compile(re.escape(listing.path.rstrip("/")) + r"/\{[^/{}]+\}")
        found = (one for one in self.operations.values() if pattern.fullmatch(one.path))
        return next((one for one in found if one.method == "GET"), None)
