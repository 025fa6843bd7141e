"""Say which Docker Engine answers, or why none does (exit 1)."""

from __future__ import annotations

import os
import sys

import docker
from docker.errors import DockerException

USUAL_SOCKET = "unix:///var/run/docker.sock"
TIMEOUT_SECONDS = 5


def main() -> int:
    where = os.environ.get("DOCKER_HOST") or USUAL_SOCKET
    try:
        version = docker.from_env(timeout=TIMEOUT_SECONDS).version()["Version"]
    except DockerException as error:
        why = "refuses this user" if "Permission denied" in str(error) else "does not answer"
        print(f"The Docker Engine at {where} {why}.", file=sys.stderr)
        return 1
    print(f"Docker Engine {version} answers at {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
