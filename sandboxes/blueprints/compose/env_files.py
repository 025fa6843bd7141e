"""Files of variables: the `.env` of a folder, and a service's `env_file`."""

from __future__ import annotations

import io
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace

from dotenv.parser import Binding, parse_stream

from sandboxes.blueprints.compose.findings import Malformed
from sandboxes.blueprints.compose.tree import Place
from sandboxes.blueprints.compose.variables import Variables, finish, substitute


class InvalidEnvFile(Malformed):
    """A file of variables with a line that can't be understood."""

    def __init__(self, line: int, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.line = line
        self.place: Place | None = None


def read_env_file(text: str, variables: Variables, *, raw: bool = False) -> dict[str, str]:
    """Return the variables of a file, with those that differ between sandboxes left in.

    A value may use `variables` and those above it in the file. In the format `raw`, a value is
    the rest of its line. Raises InvalidEnvFile.
    """
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InvalidEnvFile(line, "This line contains a NUL character.", "Remove it.")
    if raw:
        return _read_raw(text)
    found: dict[str, str] = {}
    own: dict[str, str] = {}
    scope = replace(variables, fixed=ChainMap(dict(variables.fixed), own), keep_other_dollars=True)
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise InvalidEnvFile(
                binding.original.line, "This line is not of the form NAME=value.", "Correct it."
            )
        if binding.key is None:
            continue
        try:
            value = _value(binding, scope)
        except Malformed as error:
            raise InvalidEnvFile(binding.original.line, str(error), error.remedy) from error
        if value is not None:
            found[binding.key] = value
            own.update(_fixed({binding.key: value}))
    return found


def fixed_variables(text: str, variables: Variables) -> dict[str, str]:
    """Return the variables of a `.env` file. Raises InvalidEnvFile."""
    return _fixed(read_env_file(text, variables))


def _fixed(values: Mapping[str, str]) -> dict[str, str]:
    fixed = {}
    for name, value in values.items():
        try:
            fixed[name] = finish(value)
        except Malformed:
            continue
    return fixed


def _value(binding: Binding, variables: Variables) -> str | None:
    """Return a binding's value; a name alone stands for the variable of that name, if it is set."""
    if binding.value is None:
        return variables.lookup(binding.key or "")
    _, _, written = binding.original.string.partition("=")
    if written.lstrip().startswith("'"):
        return binding.value.replace("$", "$$")
    return substitute(binding.value, variables)


def _read_raw(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.lstrip().startswith("#"):
            found[name.strip()] = value.replace("$", "$$")
    return found
