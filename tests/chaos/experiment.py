"""`python -m tests.chaos.experiment NAME ARGUMENTS`: one ordeal in a world of its own.

The arguments are JSON, and so is what was found: the last line that is printed.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys

from tests.chaos.environment import world

STOPS = (signal.SIGTERM, signal.SIGINT)


def end(*_: object) -> None:
    """Whoever stops it wants nothing to be left: what removes that is not stopped again."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(name: str, arguments: str) -> None:
    for number in STOPS:
        signal.signal(number, end)
    chosen = json.loads(arguments)
    place = {key: chosen.pop(key) for key in ("image", "store", "own_engine") if key in chosen}
    with world(**place) as made:
        import django

        # Only now, as settings are read from the environment that the world made.
        django.setup()
        ordeal = importlib.import_module(f"tests.chaos.{name}")
        found = ordeal.run(made, **chosen)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
