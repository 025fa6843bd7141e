"""Run `python -m billing_db prepare | serve | reset | rekey` in the directory of the service."""

from __future__ import annotations

import sys

from .binaries import PostgresNotFound
from .cluster import prepare
from .server import InvalidEnvironment, RekeyFailed, ResetFailed, rekey, reset, serve

EX_USAGE = 64


def main(command: str) -> int:
    """Run a command. Return 64 if the environment is invalid, and 1 after another failure."""
    try:
        {"prepare": prepare, "serve": serve, "reset": reset, "rekey": rekey}[command]()
    except InvalidEnvironment as error:
        print(f"billing-db: {error}", file=sys.stderr)
        return EX_USAGE
    except (PostgresNotFound, ResetFailed, RekeyFailed) as error:
        print(f"billing-db: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1]))
