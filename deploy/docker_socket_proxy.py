r"""A proxy for the Docker socket that allows only what the portal needs, on its own objects.

    SANDBOX_INSTANCE=production SANDBOX_SUBNETS=10.213.0.0/16 \
        python3 deploy/docker_socket_proxy.py /run/sandbox-portal-engine/engine.sock

`docs/socket-proxy.md` says what it promises. Uses only the standard library.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from socket_proxy.server import SocketProxy
from socket_proxy.settings import InvalidSetting, Settings

SOCKET_UMASK = 0o117
"""The socket's user and group may use it, no other user."""


class JSONFormatter(logging.Formatter):
    """One object a line, with the same fields as the portal's own lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def configure_logging(log_format: str) -> None:
    handler = logging.StreamHandler()
    text = logging.Formatter("%(levelname)s %(message)s")
    handler.setFormatter(JSONFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main() -> None:
    try:
        [path] = sys.argv[1:]
    except ValueError:
        sys.exit("Usage: docker_socket_proxy.py SOCKET")
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        sys.exit(f"docker_socket_proxy: {error}")
    configure_logging(os.environ.get("LOG_FORMAT", ""))
    os.umask(SOCKET_UMASK)
    with suppress(KeyboardInterrupt):
        asyncio.run(SocketProxy(settings).serve(Path(path)))


if __name__ == "__main__":
    main()
