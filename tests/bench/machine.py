"""The machine under test, and whether it has enough memory and disk space."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker

ROOT = Path(__file__).resolve().parent.parent.parent
MB_PER_SANDBOX = 70
"""Memory of each running sandbox."""
MB_OVERHEAD = 2048
"""Memory of the portal, the engine and this program."""
DISK_GB = 5


def facts() -> dict[str, str]:
    """Return what is needed to compare the figures with others."""
    engine = docker.from_env().info()
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
        "processor": f"{os.cpu_count()} cores, {_line('/proc/cpuinfo', 'model name')}",
        "memory": f"{meminfo('MemTotal') / 1024:.1f} GiB",
        "system": str(engine["OperatingSystem"]),
        "kernel": platform.release(),
        "engine": f"Docker {engine['ServerVersion']}",
        "storage driver": " over ".join([engine["Driver"], *_file_system(engine)]),
        "cgroups": f"version {engine.get('CgroupVersion', '1')}, {engine['CgroupDriver']}",
        "python": platform.python_version(),
        "portal": "SQLite, embedded queue, 2 web workers (Procfile defaults)",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    name = git("rev-parse", "--short=10", "HEAD") or "none"
    changed = git("status", "--porcelain", "--", ":!docs/performance*", ":!docs/reliability*")
    return f"{name}, with changes" if changed else name


def meminfo(name: str) -> float:
    """Return a value of /proc/meminfo in MB."""
    return int(_line("/proc/meminfo", name).split()[0]) / 1024


def shortage(sandboxes: int) -> str:
    """Return what this machine lacks to run this many sandboxes; empty if nothing."""
    needed, free = MB_OVERHEAD + MB_PER_SANDBOX * sandboxes, meminfo("MemAvailable")
    if free < needed:
        return (
            f"{sandboxes} sandboxes need {needed / 1024:.1f} GiB of free memory; "
            f"{free / 1024:.1f} GiB are free. Stop other programs, or use QUICK=1."
        )
    root = docker.from_env().info()["DockerRootDir"]
    space = shutil.disk_usage(root if Path(root).exists() else "/").free / 1024**3
    if space < DISK_GB:
        return f"{root} has {space:.1f} GiB of free space; {DISK_GB} GiB are needed. Free some."
    return ""


def _line(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _file_system(engine: dict[str, Any]) -> list[str]:
    return [
        value for name, value in engine.get("DriverStatus") or [] if name == "Backing Filesystem"
    ]
