"""The machine that is measured on, and whether it has room for that."""

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
MB_EACH = 70
"""Of memory, for each sandbox that runs at once."""
MB_BESIDES = 2048
"""For the portal, the engine and this program."""
DISK_GB = 5


def facts() -> dict[str, str]:
    """What must be known to compare these figures with others."""
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
        "control groups": f"version {engine.get('CgroupVersion', '1')}, {engine['CgroupDriver']}",
        "python": platform.python_version(),
        "portal": "SQLite, embedded queue, 2 web workers; Procfile's defaults",
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
    """A line of /proc/meminfo, in MB."""
    return int(_line("/proc/meminfo", name).split()[0]) / 1024


def refusal(sandboxes: int) -> str:
    """Why so many can't be measured here; empty when they can."""
    wanted, free = MB_BESIDES + MB_EACH * sandboxes, meminfo("MemAvailable")
    if free < wanted:
        return (
            f"{sandboxes} sandboxes at once want {wanted / 1024:.1f} GiB of free memory, and "
            f"{free / 1024:.1f} GiB are free. End something, or take QUICK=1."
        )
    root = docker.from_env().info()["DockerRootDir"]
    space = shutil.disk_usage(root if Path(root).exists() else "/").free / 1024**3
    if space < DISK_GB:
        return f"{root} has {space:.1f} GiB of free space; {DISK_GB} GiB are wanted. Free some."
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
