"""Files of variables: the `.env` of a folder, and a service's `env_file`."""

from __future__ import annotations

import io
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import replace
from typing import cast

from dotenv.parser import Binding, parse_stream

from sandboxes.blueprints.compose.findings import Malformed
from sandboxes.blueprints.compose.reading.variables import Variables, finish, substitute
from sandboxes.blueprints.compose.tree import Place

BLANKS = re.compile(r"[^\S\r\n]+")
MAX_BLANKS = 100
"""Spaces in succession in a line: python-dotenv takes time quadratic in their number."""
MAX_NAME_LENGTH = 300


class InvalidEnvFile(Malformed):
    """A file of variables with a line that can't be understood."""

    def __init__(self, line: int, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.line = line
        self.place: Place | None = None


def read_env_file(text: str, variables: Variables, *, raw: bool = False) -> dict[str, str]:
    """Return the variables of a file, with those that differ between sandboxes left in.

    A value may use `variables` and those above it in the file. In the format `raw`, a value is
    the rest of its line. Raises InvalidEnvFile, TooLarge.
    """
    variables.budget.copy(1, len(text))  # Before it is parsed, which takes the time.
    if "\0" in text:
        message = "This line contains a NUL character."
        raise InvalidEnvFile(_line_of(text, text.index("\0")), message, "Remove it.")
    if raw:
        return dict(_read_raw(text, variables))
    for blanks in BLANKS.finditer(text):
        if len(blanks[0]) > MAX_BLANKS:
            message = f"This line contains more than {MAX_BLANKS} spaces in succession."
            raise InvalidEnvFile(_line_of(text, blanks.start()), message, "Remove some.")
    found: dict[str, str] = {}
    own: dict[str, str] = {}
    before = cast("MutableMapping[str, str]", variables.fixed)
    scope = replace(variables, fixed=ChainMap(before, own), keep_other_dollars=True)
    for binding in parse_stream(io.StringIO(text)):
        variables.budget.copy(1, len(binding.original.string))
        if binding.error:
            raise InvalidEnvFile(
                binding.original.line, "This line is not of the form NAME=value.", "Correct it."
            )
        if binding.key is None:
            continue
        _check_name(binding.key, binding.original.line)
        try:
            value = _value(binding, scope)
        except Malformed as error:
            raise InvalidEnvFile(binding.original.line, str(error), error.remedy) from error
        if value is not None:
            found[binding.key] = value
            own.update(_fixed({binding.key: value}))
    return found


def fixed_variables(text: str, variables: Variables) -> dict[str, str]:
    """Return the variables of a `.env` file. Raises InvalidEnvFile, TooLarge."""
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


def _read_raw(text: str, variables: Variables) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        variables.budget.copy(1, len(line))
        name, separator, value = line.partition("=")
        if separator and not name.lstrip().startswith("#"):
            _check_name(name.strip(), number)
            yield name.strip(), value.replace("$", "$$")


def _check_name(name: str, line: int) -> None:
    if not name or len(name) > MAX_NAME_LENGTH:
        message = "This line has no name of a variable, or a very long one."
        raise InvalidEnvFile(line, message, "Write NAME=value.")


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
