"""Generate this installation's keys and instance name, and write them to `env` in VAR_DIR.

Existing values are kept; only missing ones are added. Uses only the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import socket
from pathlib import Path


def instance_name(var: Path) -> str:
    """Return an instance name that is unique among the checkouts that share an engine.

    Derived from the machine and the directory, not random: if `var` is lost, the next run gets the
    same name and its reaper removes the sandboxes of the previous one.
    """
    file = Path("/etc/machine-id")
    machine_id = file.read_text().strip() if file.exists() else ""
    digest = hashlib.sha256(f"{machine_id} {socket.gethostname()} {var}".encode())
    return f"portal-{digest.hexdigest()[:8]}"


def generate_values(var: Path) -> dict[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SANDBOX_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "SANDBOX_INSTANCE": instance_name(var),
    }


def main(var: Path) -> None:
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = var / "env"
    lines = path.read_text().splitlines() if path.exists() else []
    present = {line.partition("=")[0].strip() for line in lines}
    generated = generate_values(var).items()
    missing = [f"{name}={value}" for name, value in generated if name not in present]
    if not missing:
        return
    draft = var / f".env-{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:  # noqa: PTH123
        out.write("\n".join([*lines, *missing]) + "\n")
    draft.replace(path)
    print(f"▸ Generated this installation's keys in {path}")


if __name__ == "__main__":
    main(Path(os.environ["VAR_DIR"]))
