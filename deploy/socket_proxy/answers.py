"""What callers see of those answers that concern the whole engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from socket_proxy import host
from socket_proxy.bodies import BRIDGE_NAME
from socket_proxy.objects import INSTANCE_LABEL, Objects

Reduce = Callable[[Any, Objects], Any]

VERSION_KEYS = ("Version", "Os", "Arch", "KernelVersion")
INFO_KEYS = (
    *("ID", "ServerVersion", "SystemTime", "OperatingSystem", "OSType", "Architecture"),
    *("KernelVersion", "NCPU", "MemTotal", "Driver", "DriverStatus", "DockerRootDir"),
    *("CgroupDriver", "CgroupVersion", "MemoryLimit", "SwapLimit", "PidsLimit", "CpuCfsQuota"),
    *("CpuCfsPeriod", "LiveRestoreEnabled", "SecurityOptions", "DefaultRuntime"),
)


def version(answer: Any, objects: Objects) -> dict[str, Any]:
    """Report the one API version that the proxy speaks."""
    spoken = objects.settings.api_version
    return _only(answer, VERSION_KEYS) | {"ApiVersion": spoken, "MinAPIVersion": spoken}


def info(answer: Any, objects: Objects) -> dict[str, Any]:
    """Leave out the engine's proxies, registries, labels and swarm, and how runtimes start.

    `Host` is the proxy's own: what is free on its machine, and where ports can be published.
    """
    settings = objects.settings
    names: dict[str, Any] = {name: {} for name in answer.get("Runtimes") or ()}
    free = host.resources(settings.data_root or answer.get("DockerRootDir") or "")
    held_to = {
        "BindAddress": settings.bind_address,
        "HasBindAddress": host.has_address(settings.bind_address),
        "Subnets": str(settings.subnets),
        "Ports": f"{settings.ports.start}-{settings.ports.stop - 1}",
    }
    return _only(answer, INFO_KEYS) | {"Runtimes": names, "Host": free | held_to}


def networks(answer: Any, objects: Objects) -> list[dict[str, Any]]:
    """Describe a foreign network by its subnets and its age only: new networks must not overlap.

    `Traffic` is the proxy's own: the bytes that passed the bridge of an own network.
    """
    traffic = host.traffic()
    return [
        row | {"Traffic": traffic.get((row.get("Options") or {}).get(BRIDGE_NAME, ""))}
        if _is_own(row, objects)
        else _anonymous_network(row)
        for row in answer
    ]


def running_containers(answer: Any, _objects: Objects) -> list[dict[str, Any]]:
    """Add `Usage`, which is the proxy's own: memory and CPU time of each container."""
    return [row | {"Usage": host.container_usage(row["Id"])} for row in answer]


def _anonymous_network(row: Mapping[str, Any]) -> dict[str, Any]:
    pools = (row.get("IPAM") or {}).get("Config") or ()
    subnets = [{"Subnet": pool["Subnet"]} for pool in pools if pool.get("Subnet")]
    hidden = {"Name": "", "Id": "", "Labels": {}, "Options": {}}
    return hidden | {"Created": row.get("Created"), "IPAM": {"Config": subnets}}


def images(answer: Any, objects: Objects) -> list[dict[str, Any]]:
    """List only images that containers of this instance may use."""
    return [row for row in answer if objects.may_use_image(row.get("RepoTags"), row.get("Labels"))]


def volume_sizes(answer: Any, objects: Objects) -> dict[str, Any]:
    """Tell the sizes of this instance's volumes."""
    own = [row for row in answer.get("Volumes") or () if _is_own(row, objects)]
    return {"Volumes": [_only(row, ("Name", "Labels", "UsageData")) for row in own]}


def _is_own(row: Mapping[str, Any], objects: Objects) -> bool:
    labels = row.get("Labels") or {}
    return bool(labels.get(INSTANCE_LABEL) == objects.settings.instance)


def _only(answer: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: answer[key] for key in keys if key in answer}


def reduced(content: bytes, reduce: Reduce, objects: Objects) -> Any:
    """Return what callers see of an answer."""
    return reduce(json.loads(content), objects)
