"""Ask public databases for known vulnerabilities of what the portal and its sandboxes are built on.

Ends with 1 when one is known. Where no database answers it says so, and that is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PINNED = (
    "requirements.txt",
    "requirements-dev.txt",
    "sandboxes/blueprints/billing/api/requirements.txt",
    "sandboxes/blueprints/billing/process/requirements.txt",
)
SERVICES = ("pypi", "osv")
SECONDS = 180


def ask(service: str, pinned: str) -> list[dict[str, Any]]:
    """Each package with its `vulns`, or with a `skip_reason`; none when nobody answers."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", pinned, "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--vulnerability-service", service]
    try:
        asked = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        found: list[dict[str, Any]] = json.loads(asked.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return []
    return found


def audit(pinned: str) -> tuple[int, list[str]]:
    """How many packages a database knows, and a line for each vulnerability in them."""
    for service in SERVICES:
        known = [one for one in ask(service, pinned) if "vulns" in one]
        if known:
            return len(known), [line for one in known for line in _lines(one)]
    return 0, []


def _lines(package: dict[str, Any]) -> list[str]:
    return [
        f"{package['name']} {package['version']}: {one['id']}, mended in "
        f"{', '.join(one['fix_versions']) or 'no release yet'}"
        for one in package["vulns"]
    ]


def main() -> int:
    status = 0
    for pinned in PINNED:
        count, vulnerabilities = audit(pinned)
        if not count:
            print(f"▸ Not audited: no database of vulnerabilities answers about {pinned}.")
            continue
        print(f"▸ {pinned}: {len(vulnerabilities)} known vulnerabilities in {count} packages.")
        for line in vulnerabilities:
            print(f"✗ {line}", file=sys.stderr)
        status |= bool(vulnerabilities)
    return status


if __name__ == "__main__":
    sys.exit(main())
