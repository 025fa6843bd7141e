"""Print the Docker Engine's version, or why it can't be reached (exit status 1)."""

from __future__ import annotations

import os
import sys

import docker
from docker.errors import DockerException

DEFAULT_SOCKET = "unix:///var/run/docker.sock"
TIMEOUT_SECONDS = 5


def main() -> int:
    address = os.environ.get("DOCKER_HOST") or DEFAULT_SOCKET
    try:
        version = docker.from_env(timeout=TIMEOUT_SECONDS).version()["Version"]
    except DockerException as error:
        denied = "Permission denied" in str(error)
        problem = "denies access to this user" if denied else "isn't responding"
        print(f"The Docker Engine at {address} {problem}.", file=sys.stderr)
        return 1
    print(f"Using Docker Engine {version} at {address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
