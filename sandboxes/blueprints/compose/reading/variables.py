"""Variables in Compose files: `$NAME`, `${NAME}` and `${NAME:-default}` with its relatives.

https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md. The environment of the
portal's own processes is never read.

A variable with the same value in all sandboxes is replaced when a blueprint is loaded. A variable
that each sandbox has its own value of stays in the text as `${NAME}`, and a dollar sign as `$$`,
until `Blueprint.spec` fills them in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

from sandboxes.blueprints.compose.budget import Budget
from sandboxes.blueprints.compose.findings import Malformed, sentence, shortened
from sandboxes.blueprints.interpolation import variable_names

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
START = re.compile(rf"\$(?:(?P<escaped>\$)|\{{(?P<braced>{NAME})|(?P<plain>{NAME}))")
OPERATOR = re.compile(r":?[-?+]")
SPECIAL, SPECIAL_NESTED = re.compile(r"\$"), re.compile(r"[$}]")
MAX_DEPTH = 10
GENERATED_LENGTH = 32
"""Letters and digits of a random value, unless its blueprint says otherwise."""
MAX_LENGTH = 64 * 1024

INVALID = "A dollar sign is not followed by a variable."
INVALID_REMEDY = "Write ${NAME} for a variable, and $$ for a dollar sign."


@dataclass(frozen=True)
class Variables:
    """The variables that a file may use."""

    fixed: Mapping[str, str]
    """Those with the same value in all sandboxes."""
    per_sandbox: Set[str] = frozenset()
    """Names of those that differ; they are never empty, and win over fixed ones."""
    longest: Mapping[str, int] = field(default_factory=dict)
    """Bytes that each of these has at most."""
    report_unset: Callable[[str], object] = str
    """Called with the name of each variable that is used but not set."""
    keep_other_dollars: bool = False
    """Whether a dollar sign that starts no variable stands for itself, as in files of variables."""
    budget: Budget = field(default_factory=Budget)
    """Counts each use of a variable, and what it stands for."""

    def with_defaults(self, defaults: Mapping[str, str]) -> Variables:
        """Return these variables, and further ones that they override. Raises TooLarge."""
        self.budget.copy(len(defaults) + len(self.fixed), 0)
        return replace(self, fixed={**defaults, **self.fixed})

    def longest_bytes(self, text: str) -> int:
        """Return the bytes that a text for `Blueprint.spec` has at most in a sandbox."""
        names = filter(None, variable_names(text))
        more = sum(self.longest.get(name, GENERATED_LENGTH) for name in names)
        return len(text.encode()) + more

    def is_missing(self, name: str, *, or_empty: bool = False) -> bool:
        """Return whether a variable is not set, or empty."""
        if name in self.per_sandbox:
            return False
        return not self.fixed.get(name) if or_empty else name not in self.fixed

    def lookup(self, name: str) -> str | None:
        """Return a variable's text for `Blueprint.spec`, or None if it is not set."""
        if name in self.per_sandbox:
            return "${" + name + "}"
        text = self.fixed.get(name)
        return None if text is None else escape(text)


def escape(text: str) -> str:
    """Return a text in which no dollar sign starts a variable."""
    return text.replace("$", "$$")


def substitute(text: str, variables: Variables) -> str:
    """Return a text with its fixed variables replaced. Raises Malformed.

    What remains are `${NAME}` for variables that differ between sandboxes, and `$$`. Raises
    TooLarge if the texts of a blueprint become too long together.
    """
    if "$" not in text:
        return text
    filled, end = _Template(text, variables).read(0, nested=False, depth=0)
    assert end == len(text)
    return filled


def finish(text: str) -> str:
    """Return a substituted text that can't contain variables. Raises Malformed if it does."""
    remaining = [match["braced"] for match in START.finditer(text) if match["braced"]]
    if remaining:
        raise Malformed(
            f"{remaining[0]} differs between sandboxes, and can't be used here.",
            "Use it in environment, command, entrypoint, a health check, or the content of a "
            "config or secret.",
        )
    return text.replace("$$", "$")


@dataclass(frozen=True)
class _Template:
    text: str
    variables: Variables

    def read(self, start: int, *, nested: bool, depth: int) -> tuple[str, int]:
        """Return the filled text from `start`, up to its end or, if nested, its closing brace."""
        if depth > MAX_DEPTH:
            raise Malformed(
                f"Variables are nested more than {MAX_DEPTH} levels deep.", "Nest less."
            )
        parts: list[str] = []
        position, length = start, 0
        for end, part in self._parts(start, nested, depth):
            position = end
            parts.append(part)
            length += len(part)
            if length > MAX_LENGTH:
                raise Malformed(f"The text is longer than {MAX_LENGTH // 1024} KB.", "Shorten it.")
        return "".join(parts), position

    def _parts(self, start: int, nested: bool, depth: int) -> Iterator[tuple[int, str]]:
        position = start
        while position < len(self.text):
            if nested and self.text[position] == "}":
                break
            if self.text[position] != "$":
                end = self._next_special(position, nested)
                yield end, self.text[position:end]
                position = end
                continue
            match = START.match(self.text, position)
            if not match:
                if not self.variables.keep_other_dollars:
                    raise Malformed(INVALID, INVALID_REMEDY)
                part, position = "$$", position + 1
            elif match["braced"]:
                part, position = self._braced(match["braced"], match.end(), depth)
            else:
                part = "$$" if match["escaped"] else self._value(match["plain"])
                position = match.end()
            yield position, part

    def _next_special(self, position: int, nested: bool) -> int:
        match = (SPECIAL_NESTED if nested else SPECIAL).search(self.text, position)
        return match.start() if match else len(self.text)

    def _braced(self, name: str, position: int, depth: int) -> tuple[str, int]:
        """Return the value of `${name…}` whose name ends at `position`, and where it ends."""
        self.variables.budget.copy(1, 0)
        operator = OPERATOR.match(self.text, position)
        argument, position = "", operator.end() if operator else position
        if operator:
            silent = replace(self.variables, report_unset=str)
            used = self._uses_argument(name, operator[0])
            reader = self if used else replace(self, variables=silent)
            argument, position = reader.read(position, nested=True, depth=depth + 1)
        if self.text[position : position + 1] != "}":
            raise Malformed(
                f"The variable {name} is followed by something that Compose doesn't know.",
                "Write ${NAME}, or ${NAME:-default}, and close it with a brace.",
            )
        return self._apply(name, operator[0] if operator else "", argument), position + 1

    def _is_missing(self, name: str, operator: str) -> bool:
        return self.variables.is_missing(name, or_empty=operator.startswith(":"))

    def _uses_argument(self, name: str, operator: str) -> bool:
        return self._is_missing(name, operator) != operator.endswith("+")

    def _apply(self, name: str, operator: str, argument: str) -> str:
        if not operator:
            return self._value(name)
        if operator.endswith("?") and self._is_missing(name, operator):
            reason = argument.replace("$$", "$") or "it is required"
            raise Malformed(
                sentence(f"The variable {name} is not set: {shortened(reason)}"),
                f"Declare {name} in x-sandbox.secrets or x-sandbox.variables, or set it in .env.",
            )
        if operator.endswith("+"):
            return argument if self._uses_argument(name, operator) else ""
        return argument if self._uses_argument(name, operator) else self._value(name)

    def _value(self, name: str) -> str:
        value = self.variables.lookup(name)
        self.variables.budget.copy(1, len(value or ""))
        if value is None:
            self.variables.report_unset(name)
        return value or ""
