"""`python -m tests.chaos.experiment MODULE ARGUMENTS`: one experiment in its own environment.

ARGUMENTS are JSON, and so are the results: the last line of the output.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys

from tests.chaos.environment import prepared_environment

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def interrupt(*_: object) -> None:
    """Interrupt the experiment once; further signals don't interrupt the clean-up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(name: str, arguments: str) -> None:
    for number in SIGNALS:
        signal.signal(number, interrupt)
    options = json.loads(arguments)
    place = {
        key: options.pop(key)
        for key in ("image", "store", "own_engine", "disk_mb")
        if key in options
    }
    with prepared_environment(**place) as env:
        import django

        # Not earlier, as settings are read from the variables of the prepared environment.
        django.setup()
        module = importlib.import_module(f"tests.chaos.{name}")
        results = module.run(env, **options)
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
