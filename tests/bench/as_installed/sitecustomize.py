# ruff: noqa: INP001 - Python imports it by its name, not as a part of a package.
"""Hide optional packages that an installed portal doesn't have; Python imports this at its start.

They are in requirements-dev.txt only. Libraries of the portal import them if they can, which takes
6 MB of memory in each process.
"""

import sys

for name in ("jinja2", "rich"):
    # An import now raises ModuleNotFoundError.
    sys.modules[name] = None
