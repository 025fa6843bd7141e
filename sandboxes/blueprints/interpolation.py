"""Variables in a blueprint: `${NAME}`, and `$$` for a dollar sign; no other Compose syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

SANDBOX_ID = "SANDBOX_ID"
BUILT_IN_VARIABLES = frozenset({SANDBOX_ID, "SANDBOX_LAUNCHED_AT"})
"""Variables of every sandbox, in addition to the secrets that its blueprint declares."""
STELLAR_VARIABLES = frozenset({"SANDBOX_STELLAR_PUBLIC_KEY"})
"""Variables of the sandboxes that have an account."""

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\})?")


def variable_names(text: str) -> Iterator[str]:
    """Yield the variable names in a text, and an empty name for each `$` that starts none."""
    for match in VARIABLE.finditer(text):
        if match["name"] or match[0] == "$":
            yield match["name"] or ""


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """Replace the variables in a text. Raises KeyError with the name of a missing variable."""
    return VARIABLE.sub(lambda match: values[match["name"]] if match["name"] else "$", text)
