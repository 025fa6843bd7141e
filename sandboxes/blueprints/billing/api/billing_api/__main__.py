"""Run the API: `python -m billing_api`, with the environment that settings.py names."""

from __future__ import annotations

import os
import signal
import sys

from .server import serve
from .settings import SettingsError, from_environment


def _stop(*_: object) -> None:
    raise SystemExit(0)


def main() -> int:
    """Serve until a signal ends it; 64 where the environment makes no sense."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        print(f"billing-api: {error}", file=sys.stderr)
        return 64
    try:
        serve(settings)
    except OSError as error:
        print(
            f"billing-api: can't listen on {settings.host}:{settings.port}: {error}",
            file=sys.stderr,
        )
        return 1
    return 0


sys.exit(main())
