"""Start a command that outlives whoever starts it: `detach.py LOG COMMAND [ARGUMENT…]`.

It gets a session of its own, so Ctrl-C does not reach it, and no open file of ours, so nobody who
waits for the end of our output waits for it.
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
