"""Start a command in the background: `detach.py LOG COMMAND [ARGUMENT…]`.

The command runs in its own session, so Ctrl-C doesn't reach it. It inherits no open files, so a
pipe that reads the caller's output ends when the caller does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(log: str, *command: str) -> None:
    with Path(log).open("ab") as out:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
