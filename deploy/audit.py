"""Look up known vulnerabilities in the pinned packages of the portal and its sandboxes.

Exits with 1 if there are any. If no vulnerability database answers, reports that and exits with 0.
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
TIMEOUT_SECONDS = 180


def query(service: str, pinned: str) -> list[dict[str, Any]]:
    """Return each package with its `vulns` or a `skip_reason`; empty if the service is down."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", pinned, "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--vulnerability-service", service]
    try:
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
        packages: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return []
    return packages


def audit(pinned: str) -> tuple[int, list[str]]:
    """Return how many packages were checked, and a line for each known vulnerability."""
    for service in SERVICES:
        checked = [package for package in query(service, pinned) if "vulns" in package]
        if checked:
            return len(checked), [line for package in checked for line in _report(package)]
    return 0, []


def _report(package: dict[str, Any]) -> list[str]:
    return [
        f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no release yet'}"
        for vulnerability in package["vulns"]
    ]


def main() -> int:
    status = 0
    for pinned in PINNED:
        count, vulnerabilities = audit(pinned)
        if not count:
            print(f"▸ Skipped {pinned}: no vulnerability database could be reached.")
            continue
        print(f"▸ {pinned}: {len(vulnerabilities)} known vulnerabilities in {count} packages.")
        for line in vulnerabilities:
            print(f"✗ {line}", file=sys.stderr)
        status |= bool(vulnerabilities)
    return status


if __name__ == "__main__":
    sys.exit(main())
