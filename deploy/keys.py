"""Write what this installation needs once, its keys and its name, to `env` in VAR_DIR.

Keeps what is there and adds what is missing. Needs nothing but Python itself.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import socket
from pathlib import Path


def instance(var: Path) -> str:
    """A name that no other checkout on the same engine has.

    Made of the machine and the directory rather than drawn: when `var` was lost, the next run bears
    the same name again, and its reaper removes the sandboxes of the last.
    """
    machine = Path("/etc/machine-id")
    known = machine.read_text().strip() if machine.exists() else ""
    digest = hashlib.sha256(f"{known} {socket.gethostname()} {var}".encode())
    return f"portal-{digest.hexdigest()[:8]}"


def wanted(var: Path) -> dict[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SANDBOX_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "SANDBOX_INSTANCE": instance(var),
    }


def main(var: Path) -> None:
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = var / "env"
    lines = path.read_text().splitlines() if path.exists() else []
    known = {line.partition("=")[0].strip() for line in lines}
    missing = [f"{name}={value}" for name, value in wanted(var).items() if name not in known]
    if not missing:
        return
    draft = var / f".env-{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:  # noqa: PTH123
        out.write("\n".join([*lines, *missing]) + "\n")
    draft.replace(path)
    print(f"▸ Made keys for this installation, kept in {path}")


if __name__ == "__main__":
    main(Path(os.environ["VAR_DIR"]))
