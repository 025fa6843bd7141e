"""Properties of an engine that affect isolation and limits, for the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandboxes.runtime import ImageRecipe, image_name
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images.build import is_outdated
from sandboxes.runtime.docker.images.prepare import source_name
from sandboxes.runtime.docker.networks import in_use

PROXY = "docker-proxy"
"""Name of the program that the engine starts for each published port."""


@dataclass(frozen=True)
class EngineInfo:
    """Properties of an engine. `limits` shows which kinds of limits its kernel enforces."""

    version: str
    api_version: str
    system_time: datetime
    storage: str = ""
    cgroup_version: str = ""
    limits: Mapping[str, bool] = field(default_factory=dict)
    runtimes: frozenset[str] = frozenset()
    live_restore: bool = False
    seccomp: bool = True
    local: bool = True
    """The engine runs on this machine."""
    proxies: int = 0
    """Number of programs that the engine started to publish ports."""


def read_engine_info(engine: EngineClient) -> EngineInfo:
    """Return the engine's properties. Raises EngineUnreachable, EngineRefused."""
    with engine.calling("describe itself") as client:
        info, version = client.info(), client.version()
    local = not engine.url or engine.url.startswith("unix://")
    return EngineInfo(
        version=info["ServerVersion"],
        api_version=version["ApiVersion"],
        system_time=datetime.fromisoformat(info["SystemTime"]),
        storage=_storage(info),
        cgroup_version=info.get("CgroupVersion", "1"),
        limits={
            "memory": info["MemoryLimit"],
            "swap": info["SwapLimit"],
            "processes": info["PidsLimit"],
            "CPU": info["CpuCfsQuota"],
        },
        runtimes=frozenset(info["Runtimes"]),
        live_restore=info["LiveRestoreEnabled"],
        seccomp=any("name=seccomp" in option for option in info.get("SecurityOptions") or ()),
        local=local,
        proxies=_proxies() if local else 0,
    )


def _storage(info: Mapping[str, Any]) -> str:
    below = dict(info.get("DriverStatus") or ()).get("Backing Filesystem", "")
    return f"{info['Driver']} on {below}" if below else str(info["Driver"])


def _proxies() -> int:
    names = (_read(file).strip() for file in Path("/proc").glob("[0-9]*/comm"))
    return sum(name == PROXY for name in names)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""  # The process has ended.


def engine_networks(engine: EngineClient) -> list[IPv4Network]:
    """Return the subnets of all networks on the engine, including those of other programs."""
    with engine.calling("list the networks") as client:
        return list(in_use(client.networks()))


def outdated(engine: EngineClient, blueprint: str, recipes: Mapping[str, ImageRecipe]) -> list[str]:
    """Return the blueprint's images on the engine that would be built differently now."""
    with engine.calling("describe the images") as client:
        return [
            image_name(blueprint, service)
            for service, recipe in recipes.items()
            if recipe.build
            and is_outdated(client, source_name(blueprint, service, recipe), recipe.build)
        ]
