"""`python -m billing_db prepare | serve | reset`, in the service's own directory."""

from __future__ import annotations

import sys

from .binaries import PostgresNotFound
from .cluster import prepare
from .server import InvalidEnvironment, reset, serve

EX_USAGE = 64


def main(what: str) -> int:
    try:
        {"prepare": prepare, "serve": serve, "reset": reset}[what]()
    except InvalidEnvironment as error:
        print(f"billing-db: {error}", file=sys.stderr)
        return EX_USAGE
    except PostgresNotFound as error:
        print(f"billing-db: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1]))
