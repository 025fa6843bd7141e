"""Variables in a blueprint: `${NAME}`, and `$$` for a dollar sign. Nothing else of Compose's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

SANDBOX_ID = "SANDBOX_ID"
BUILT_IN_VARIABLES = frozenset({SANDBOX_ID, "SANDBOX_LAUNCHED_AT", "SANDBOX_STELLAR_PUBLIC_KEY"})
"""What every sandbox has, besides the secrets that its blueprint declares."""

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")


def variable_names(text: str) -> Iterator[str]:
    """The names of the variables in a text; an empty one for each `$` that starts none."""
    for match in VARIABLE.finditer(text):
        if match["name"] or match[0] == "$":
            yield match["name"] or ""


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables filled in. Raises KeyError with the name of a missing one."""
    return VARIABLE.sub(lambda match: values[match["name"]] if match["name"] else "$", text)
