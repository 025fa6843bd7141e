r"""A proxy for the Docker socket that allows only what the portal needs, on its own objects.

    SANDBOX_INSTANCE=production SANDBOX_SUBNETS=10.213.0.0/16 \
        python3 deploy/docker_socket_proxy.py /run/sandbox-portal-engine/engine.sock

`docs/socket-proxy.md` says what it promises. Uses only the standard library.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from socket_proxy.server import SocketProxy
from socket_proxy.settings import InvalidSetting, Settings

SOCKET_UMASK = 0o117
"""The socket's user and group may use it, no other user."""


def main() -> None:
    try:
        [path] = sys.argv[1:]
    except ValueError:
        sys.exit("Usage: docker_socket_proxy.py SOCKET")
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        sys.exit(f"docker_socket_proxy: {error}")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    os.umask(SOCKET_UMASK)
    with suppress(KeyboardInterrupt):
        asyncio.run(SocketProxy(settings).serve(Path(path)))


if __name__ == "__main__":
    main()
