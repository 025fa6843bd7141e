"""Run the API: `python -m billing_api`, with the environment that settings.py names."""

from __future__ import annotations

import os
import signal
import socket
import sys

from .settings import Settings, SettingsError, from_environment


def _exit(*_: object) -> None:
    raise SystemExit(0)


def open_listener(settings: Settings) -> socket.socket:
    """The socket that callers come in by. Raises OSError where it can't be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)


def skip_openssl() -> None:
    """Spare the process Python's OpenSSL, which it has no use for.

    psycopg2 brings one of its own, and looks for `ssl` only to set up locks that no OpenSSL has
    needed for years; hmac does as well with the hashes that are built in.
    """
    sys.modules.update(dict.fromkeys(("ssl", "_hashlib")))  # type: ignore[arg-type]


def main() -> int:
    """Serve until a signal ends it; 64 where the environment makes no sense."""
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        print(f"billing-api: {error}", file=sys.stderr)
        return 64
    try:
        listener = open_listener(settings)
    except OSError as error:
        print(
            f"billing-api: can't listen on {settings.host}:{settings.port}: {error}",
            file=sys.stderr,
        )
        return 1
    # Only now, as it takes longest: who comes early is answered as soon as that is possible.
    skip_openssl()
    from .server import serve

    serve(settings, listener)
    return 0


sys.exit(main())
