"""What every container and network of an instance must have.

Written apart from the proxy's own rules, and applied to what an engine has, not to requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from tests.fakes.docker_engine import value_of

EMPTY = (
    *("Binds", "VolumesFrom", "VolumeDriver", "Capabilities", "Devices"),
    *("DeviceRequests", "DeviceCgroupRules", "GroupAdd", "Links", "ExtraHosts", "Sysctls"),
    *("PidMode", "UTSMode", "UsernsMode", "Cgroup", "CgroupParent", "PublishAllPorts"),
    *("AutoRemove", "ContainerIDFile", "OomKillDisable", "CpusetCpus", "BlkioDeviceReadBps"),
    *("Annotations", "Isolation", "KernelMemory", "CpuRealtimeRuntime"),
)
"""Options of HostConfig that weaken the confinement, or reach something outside."""
REQUIRED: dict[str, Any] = {
    "CapDrop": ["ALL"],
    "Privileged": False,
    "IpcMode": "private",
    "OomScoreAdj": 500,
    "Init": True,
}
PRIVILEGED_CALLS = {
    *("socket", "clone", "clone3", "unshare", "setns", "mount", "move_mount", "pivot_root"),
    *("bpf", "perf_event_open", "keyctl", "add_key", "kexec_load", "init_module", "userfaultfd"),
    *("io_uring_setup", "open_by_handle_at", "reboot", "personality", "socketcall"),
}
"""Calls that the engine's default profile doesn't allow, or only with some arguments."""
MB = 1024 * 1024


@dataclass(frozen=True)
class Site:
    """The operator's settings and objects that containers are held to."""

    instance: str
    networks: Mapping[str, str]
    """Own networks by ID, with their sandbox."""
    images: frozenset[str]
    """IDs of the images that may be used."""
    subnets: IPv4Network
    bind_address: str = "127.0.0.1"
    runtimes: tuple[str, ...] = ("",)
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Own shared volumes by name, with their sandbox."""
    root_services: bool = False
    """The operator allows services that run as the container's root."""


def container_problems(config: Any, site: Site) -> Iterator[str]:
    """Yield what is wrong with a container; `config` has the form of the engine's request."""
    host = value_of(config, "HostConfig") or {}
    labels = value_of(config, "Labels") or {}
    for key in EMPTY:
        if value := value_of(host, key):
            yield f"{key}: {value}"
    for key, expected in REQUIRED.items():
        if (value := value_of(host, key)) != expected:
            yield f"{key}: {value}"
    if labels.get("sandboxportal.instance") != site.instance:
        yield f"labels: {labels}"
    yield from _security_problems(value_of(host, "SecurityOpt"))
    yield from _image_problems(config, site)
    yield from _privilege_problems(config, host, site)
    yield from _mount_problems(host, labels, site)
    if (value_of(host, "Runtime") or "") not in site.runtimes:
        yield f"runtime: {value_of(host, 'Runtime')}"
    if (value_of(host, "RestartPolicy") or {}).get("Name") not in ("no", ""):
        yield "restarts"
    if (resolvers := value_of(host, "Dns")) not in (None, [], ["127.0.0.1"]):
        yield f"Dns: {resolvers}"
    yield from _limit_problems(host)
    yield from _port_problems(host, site)
    yield from _network_problems(config, host, labels, site)


def _security_problems(options: Any) -> Iterator[str]:
    """Yield what is wrong unless the options are exactly these two, with a filter of calls."""
    if not isinstance(options, list) or options[:1] != ["no-new-privileges"] or len(options) != 2:
        yield f"SecurityOpt: {options}"
        return
    profile = json.loads(options[1].removeprefix("seccomp="))
    rules = profile["syscalls"]
    allowed = [rule for rule in rules if rule["action"] == "SCMP_ACT_ALLOW"]
    unconditional = {name for rule in allowed if not rule.get("args") for name in rule["names"]}
    if profile["defaultAction"] != "SCMP_ACT_ERRNO" or unconditional & PRIVILEGED_CALLS:
        yield f"seccomp: {unconditional & PRIVILEGED_CALLS}"


def _image_problems(config: Any, site: Site) -> Iterator[str]:
    if value_of(config, "Volumes"):
        yield "volumes"
    if value_of(config, "Healthcheck") != {"Test": ["NONE"]}:
        yield "runs a health check"
    if value_of(config, "Image") not in site.images:
        yield f"image: {value_of(config, 'Image')}"


def _privilege_problems(config: Any, host: Any, site: Site) -> Iterator[str]:
    added = {str(one).removeprefix("CAP_") for one in value_of(host, "CapAdd") or ()}
    for_root = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}
    if added and not (site.root_services and added == for_root):
        yield f"CapAdd: {added}"
    # Without a user it is the image's, and no image that may be used has root.
    user = str(value_of(config, "User") or "nobody")
    if user.partition(":")[0].lstrip("+-0") in ("", "root") and not added:
        yield f"user: {user}"


def _mount_problems(host: Any, labels: Mapping[str, str], site: Site) -> Iterator[str]:
    sandbox = labels.get("sandboxportal.sandbox")
    for mount in value_of(host, "Mounts") or ():
        path = str(value_of(mount, "Target"))
        own = site.volumes.get(str(value_of(mount, "Source"))) == sandbox
        if value_of(mount, "Type") != "volume" or not own or len(mount) != 3:
            yield f"mounts {mount}"
        if not path.startswith("/") or {"", ".", ".."} & set(path[1:].split("/")):
            yield f"mounts at {path}"


def _limit_problems(host: Any) -> Iterator[str]:
    bounds = {"Memory": 512 * MB, "NanoCpus": 10**9, "PidsLimit": 1024, "ShmSize": 512 * MB}
    for key, most in bounds.items():
        value = value_of(host, key)
        if type(value) is not int or not 0 < value <= most:
            yield f"{key}: {value}"
    if value_of(host, "MemorySwap") != value_of(host, "Memory"):
        yield f"MemorySwap: {value_of(host, 'MemorySwap')}"
    ulimits = {one["Name"]: one["Hard"] for one in value_of(host, "Ulimits") or ()}
    fixed = {"nofile", "fsize", "core"}
    if not fixed <= set(ulimits) or ulimits["core"] or min(ulimits[name] for name in fixed) < 0:
        yield f"Ulimits: {ulimits}"
    if {"rtprio", "nice", "rttime", "msgqueue"} & set(ulimits):
        yield f"Ulimits: {ulimits}"
    log = value_of(host, "LogConfig") or {}
    if log.get("Type") != "json-file" or "max-size" not in (log.get("Config") or {}):
        yield f"LogConfig: {log}"
    for path, options in (value_of(host, "Tmpfs") or {}).items():
        if not {"noexec", "nosuid", "nodev"} <= set(options.split(",")) or "size=" not in options:
            yield f"Tmpfs: {path}: {options}"


def _port_problems(host: Any, site: Site) -> Iterator[str]:
    for port, bindings in (value_of(host, "PortBindings") or {}).items():
        for binding in bindings or [{}]:
            address, chosen = value_of(binding, "HostIp"), value_of(binding, "HostPort")
            free = str(chosen).isdigit() and 16_384 <= int(chosen) < 32_768
            if address != site.bind_address or not free:
                yield f"publishes {port} at {address}:{chosen}"


def _network_problems(
    config: Any, host: Any, labels: Mapping[str, str], site: Site
) -> Iterator[str]:
    sandbox = labels.get("sandboxportal.sandbox")
    mode = value_of(host, "NetworkMode")
    if mode != "none" and site.networks.get(mode) != sandbox:
        yield f"NetworkMode: {mode}"
    networking = value_of(config, "NetworkingConfig") or {}
    for name, endpoint in (value_of(networking, "EndpointsConfig") or {}).items():
        joined = value_of(endpoint, "NetworkID") or name
        if site.networks.get(joined) != sandbox or mode == "none":
            yield f"joins {joined}"
        if extra := {key for key in endpoint if key not in ("Aliases", "NetworkID")}:
            yield f"endpoint: {extra}"


def network_problems(config: Any, site: Site) -> Iterator[str]:
    """Yield what is wrong with a network; `config` has the form of the engine's request."""
    labels = value_of(config, "Labels") or {}
    if labels.get("sandboxportal.instance") != site.instance:
        yield f"labels: {labels}"
    if value_of(config, "Driver") != "bridge":
        yield f"driver: {value_of(config, 'Driver')}"
    for key in ("Attachable", "Ingress", "EnableIPv6", "ConfigOnly"):
        if value_of(config, key):
            yield key
    if (source := value_of(config, "ConfigFrom")) not in (None, {}, {"Network": ""}):
        yield f"ConfigFrom: {source}"
    options = value_of(config, "Options") or {}
    bridge = str(options.get("com.docker.network.bridge.name"))
    if not (bridge.startswith("sbx") and bridge.isalnum() and len(bridge) <= 15):
        yield f"bridge: {bridge}"
    if extra := {key for key in options if not key.endswith(("bridge.name", "_masquerade"))}:
        yield f"options: {extra}"
    ipam = value_of(config, "IPAM") or {}
    pools = value_of(ipam, "Config") or [{}]
    for pool in pools:
        subnet = IPv4Network(value_of(pool, "Subnet") or "0.0.0.0/0", strict=False)
        if not (subnet.subnet_of(site.subnets) and subnet.prefixlen >= 28):
            yield f"subnet: {subnet}"
