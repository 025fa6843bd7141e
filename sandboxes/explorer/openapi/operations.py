"""An API as a person meets it: groups of operations, each with what has to be filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from sandboxes.lib.exceptions import ValidationFailed

PATH_PARAMS = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Field:
    """One property of a body, to be read about."""

    name: str
    kind: str
    required: bool
    description: str
    choices: Sequence[str] = ()


@dataclass(frozen=True)
class Parameter:
    """Something to fill in; `place` is `path` or `query`."""

    name: str
    location: str
    required: bool
    description: str
    kind: str
    example: str
    choices: Sequence[str] = ()

    @property
    def key(self) -> str:
        """What its form field is called."""
        return f"{self.location}.{self.name}"


@dataclass(frozen=True)
class Body:
    """A body of JSON, and one that could be sent as it is."""

    required: bool
    example: Any
    fields: Sequence[Field]


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: Sequence[Parameter]
    body: Body | None
    columns: Sequence[str] = ()
    """Of a list, `{"data": [...]}`: what each of its rows holds."""

    @property
    def is_list(self) -> bool:
        return bool(self.columns) and self.method == "GET" and "{" not in self.path

    @property
    def resource(self) -> str:
        """The last word of the path: what a list is a list of."""
        return self.path.rstrip("/").rpartition("/")[2]

    def target(self, values: Mapping[str, str]) -> str:
        """The path and query for what was filled in, by `Parameter.key`.

        Raises ValidationFailed.
        """
        path = PATH_PARAMS.sub(lambda hole: self._path_value(hole[1], values), self.path)
        asked = [
            (one.name, value)
            for one in self.parameters
            if one.location == "query" and (value := values.get(one.key, "").strip())
        ]
        return f"{path}?{urlencode(asked)}" if asked else path

    def _path_value(self, name: str, values: Mapping[str, str]) -> str:
        value = values.get(f"path.{name}", "").strip()
        if value in ("", ".", ".."):
            raise ValidationFailed(name, "Fill it in: it is a part of the path.")
        return quote(value, safe="")


@dataclass(frozen=True)
class Group:
    """Operations on one kind of thing."""

    name: str
    description: str = ""
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Description:
    """All that an API says of itself."""

    title: str
    description: str
    groups: Sequence[Group]
    document: Mapping[str, Any]

    @cached_property
    def operations(self) -> Mapping[str, Operation]:
        """By their ids."""
        return {one.id: one for group in self.groups for one in group.operations}

    @cached_property
    def lists(self) -> Sequence[Operation]:
        """The operations that list things, one for each kind."""
        return [one for one in self.operations.values() if one.is_list]

    def related_list(self, operation: Operation) -> Operation | None:
        """The list of what an operation is about; the first of all, if it is about no list."""
        group = next((one.operations for one in self.groups if operation in one.operations), [])
        found = (one for one in (*group, *self.lists) if one.is_list)
        return next(found, None)

    def detail_operation(self, listing: Operation) -> Operation | None:
        """The operation that reads one thing of a list, if there is one."""
        form = re.compile(re.escape(listing.path.rstrip("/")) + r"/\{[^/{}]+\}")
        found = (one for one in self.operations.values() if form.fullmatch(one.path))
        return next((one for one in found if one.method == "GET"), None)
