"""Run the API: `python -m billing_api`. See settings.py for the environment variables."""

from __future__ import annotations

import os
import signal
import socket
import sys

from .settings import Settings, SettingsError, from_environment


def _exit(*_: object) -> None:
    raise SystemExit(0)


def open_listener(settings: Settings) -> socket.socket:
    """Open the listening socket. Raises OSError if the address is not available."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)


def skip_openssl() -> None:
    """Prevent Python's OpenSSL modules from being loaded; the process doesn't use them.

    psycopg2 bundles its own OpenSSL, and imports `ssl` only to set up locks that OpenSSL
    stopped needing years ago. hmac falls back to Python's built-in hashes.
    """
    sys.modules.update(dict.fromkeys(("ssl", "_hashlib")))  # type: ignore[arg-type]


def main() -> int:
    """Serve until a signal arrives. Return 64 if the environment is invalid."""
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
    # The slowest import. The socket is open already, so early requests wait instead of failing.
    skip_openssl()
    from .server import serve

    serve(settings, listener)
    return 0


sys.exit(main())
