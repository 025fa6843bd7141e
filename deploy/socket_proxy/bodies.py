"""The schemas of request bodies: what the portal sends, within the operator's settings.

`container_config.py` and `networks.py` of the Docker runtime are the other side. A key that they
begin to send must be added here; the tests that run a sandbox behind the proxy fail until then.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from socket_proxy.objects import (
    IMAGE_NAME,
    INSTANCE_LABEL,
    SANDBOX_LABEL,
    SAVE_POINT_LABEL,
    SERVICE_LABEL,
    VOLUME_LABEL,
    Found,
)
from socket_proxy.schema import (
    Validator,
    exactly,
    flag,
    list_of,
    mapping,
    number,
    one_of,
    optional,
    parse_json,
    record,
    require,
    text,
)
from socket_proxy.settings import Settings

MB = 1024 * 1024
SYSTEM_CALLS = json.dumps(
    json.loads(
        (Path(__file__).parents[2] / "sandboxes/runtime/docker/containers/seccomp.json").read_text()
    ),
    separators=(",", ":"),
)
"""The seccomp profile of every container: the portal's own file."""
SANDBOX_ID = r"[a-z0-9][a-z0-9_-]{0,39}"
SERVICE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
HOST_NAME = SERVICE_NAME
SAVE_POINT_ID = r"sp_[a-z0-9]{1,20}"
MAX_LAYERS = 128
VOLUME_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
SHARED_VOLUME = rf"{SANDBOX_ID}_volume2?_{VOLUME_NAME}"
DIRECTORY = r"/[A-Za-z0-9_./-]{1,200}"
MAX_ALIASES = 21
PORT = r"[1-9][0-9]{0,4}/tcp"
USER_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"
USER = rf"(?:{USER_NAME}|[1-9][0-9]{{0,8}})(?::(?:{USER_NAME}|[0-9]{{1,9}}))?"
ROOT_USER = r"(?:root|0)(?::(?:root|0))?"
ROOT_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"]
MAX_LABELS = 30
NETWORK_PREFIX = 28
STARTUP_CPUS = 1.0
OOM_SCORE = 500
BRIDGE_NAME = "com.docker.network.bridge.name"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
BUILT_IN_BRIDGE = {"type": ["builtin"], "driver": ["bridge"]}
"""Filter of the network that the engine creates whenever it starts."""
NO_HEALTHCHECK = {"Test": ["NONE"]}
LOG = {"Type": "json-file", "Config": {"max-size": "2m", "max-file": "2"}}
HARMLESS_ULIMITS = ("as", "cpu", "data", "locks", "memlock", "nproc", "rss", "sigpending", "stack")
"""The container has narrower limits of what these count."""
UNLIMITED = 1 << 40

COMPOSE_LABELS = {
    "project": SANDBOX_ID,
    "service": SERVICE_NAME,
    "container-number": "1",
    "oneoff": "False",
    "config-hash": "[0-9a-f]{64}",
    "project.config_files": r"[a-z0-9_-]{1,40}/compose\.yaml",
    "network": "default",
}
OWN_LABEL = r"sandboxportal\.[a-z][a-z0-9._-]{0,40}"
LABEL_VALUE = r"[ -~]{0,200}"


def labels(settings: Settings) -> Validator:
    """Accept the labels by which the portal and Compose find an object.

    Other programs on the engine act on labels, too, so no other labels can be set.
    """
    compose = {f"com.docker.compose.{key}": text(value) for key, value in COMPOSE_LABELS.items()}
    known = compose | {
        INSTANCE_LABEL: exactly(settings.instance),
        SANDBOX_LABEL: text(SANDBOX_ID),
        SERVICE_LABEL: text(SERVICE_NAME),
    }
    own = text(OWN_LABEL)

    def validate(value: Any) -> dict[str, str]:
        require(isinstance(value, dict), "must be an object")
        require(len(value) <= MAX_LABELS, "too many labels")
        require(INSTANCE_LABEL in value, f"must contain {INSTANCE_LABEL}")
        require(SANDBOX_LABEL in value, f"must contain {SANDBOX_LABEL}")
        other = {own(name): text(LABEL_VALUE) for name in value if name not in known}
        clean: dict[str, str] = record(
            {name: check for name, check in (known | other).items() if name in value}
        )(value)
        project = clean.get("com.docker.compose.project", clean.get(SANDBOX_LABEL))
        require(project == clean.get(SANDBOX_LABEL), "the Compose project must be the sandbox")
        return clean

    return validate


def container(settings: Settings) -> Validator:
    """Accept the configuration of a container with the confinement of every sandbox."""
    fields: dict[str, Validator] = {
        "Image": text(IMAGE_NAME, 300),
        "Hostname": optional(text(HOST_NAME)),
        "Env": optional(list_of(text(r"[^=]+=.*"))),
        "User": optional(text(rf"|{USER}|{ROOT_USER}" if settings.root_services else rf"|{USER}")),
        "WorkingDir": optional(text(r"(?:/.*)?", 1000)),
        "Labels": labels(settings),
        "ExposedPorts": optional(mapping(PORT, exactly({}), most=50)),
        "Healthcheck": exactly(NO_HEALTHCHECK),
        "Cmd": optional(list_of(text())),
        "Entrypoint": optional(list_of(text())),
        "StopSignal": optional(text(r"SIG[A-Z0-9+-]{1,12}|[1-9][0-9]?")),
        "HostConfig": host_config(settings),
        "NetworkingConfig": optional(
            record(
                {
                    "EndpointsConfig": optional(
                        mapping(
                            rf"{SANDBOX_ID}_default",
                            record({"Aliases": optional(aliases)}),
                            most=1,
                        )
                    )
                }
            )
        ),
    }
    validate_fields = record(fields)

    def validate(value: Any) -> dict[str, Any]:
        clean: dict[str, Any] = validate_fields(value)
        host = clean["HostConfig"]
        networks = {"none", f"{clean['Labels'][SANDBOX_LABEL]}_default"}
        require(
            {host["NetworkMode"], *endpoints(clean)} <= networks,
            "a container can only join the network of its sandbox",
        )
        require(SERVICE_LABEL in clean["Labels"], f"Labels: must contain {SERVICE_LABEL}")
        require(host["MemorySwap"] == host["Memory"], "MemorySwap must equal Memory")
        own = f"{clean['Labels'][SANDBOX_LABEL]}_volume"
        require(
            all(one["Source"].startswith(own) for one in host.get("Mounts", ())),
            "a container can only use volumes of its sandbox",
        )
        return clean

    return validate


def endpoints(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the endpoints of a validated container configuration, by network."""
    found: dict[str, Any] = body.get("NetworkingConfig", {}).get("EndpointsConfig", {})
    return found


def host_config(settings: Settings) -> Validator:
    memory = settings.memory_mb * MB
    binding = record(
        {"HostIp": exactly(settings.bind_address), "HostPort": host_port(settings)},
    )
    fields: dict[str, Validator] = {
        "NetworkMode": text(rf"none|{SANDBOX_ID}_default"),
        "PortBindings": optional(mapping(PORT, list_of(binding, 1, 1), most=50)),
        # Confinement
        "CapDrop": exactly(["ALL"]),
        "SecurityOpt": exactly(["no-new-privileges", f"seccomp={SYSTEM_CALLS}"]),
        "Privileged": exactly(False),
        "IpcMode": exactly("private"),
        "Runtime": _given_or_default(settings.container_runtime),
        "ReadonlyRootfs": optional(flag),
        "Tmpfs": optional(mapping(DIRECTORY, tmpfs_options(settings), most=20)),
        "Mounts": optional(list_of(VOLUME_MOUNT, most=20)),
        "Dns": optional(exactly(["127.0.0.1"])),
        "DnsOptions": optional(exactly(["ndots:0", "timeout:1", "attempts:1"])),
        # Limits
        "Memory": number(MB, memory),
        "MemorySwap": number(MB, memory),
        "NanoCpus": nano_cpus(settings),
        "PidsLimit": number(1, settings.max_pids),
        "ShmSize": optional(number(1, memory)),
        "OomScoreAdj": exactly(OOM_SCORE),
        "Ulimits": ulimits(settings),
        "StorageOpt": optional(record({"size": optional(text(r"[1-9][0-9]{0,8}M"))})),
        "LogConfig": exactly(LOG),
        # Behavior
        "Init": exactly(True),
        "RestartPolicy": exactly({"Name": "no"}),
    }
    if settings.root_services:
        fields["CapAdd"] = optional(exactly(ROOT_CAPABILITIES))
    return record(fields)


def mount_point(value: Any) -> str:
    """Accept the absolute path of a directory in a container."""
    path: str = text(DIRECTORY)(value)
    parts = path[1:].split("/")
    require(not {"", ".", ".."} & set(parts), "must be a plain path")
    require(parts[0] not in ("dev", "proc", "sys"), "must not be below /dev, /proc or /sys")
    return path


VOLUME_MOUNT = record(
    {"Type": exactly("volume"), "Source": text(SHARED_VOLUME), "Target": mount_point}
)


def host_port(settings: Settings) -> Validator:
    """Accept a port of `SANDBOX_PORTS`, from which the portal chooses."""
    ports, pattern = settings.ports, text(r"[1-9][0-9]{0,4}")

    def validate(value: Any) -> str:
        port: str = pattern(value)
        require(int(port) in ports, f"must be in SANDBOX_PORTS, {ports.start}-{ports.stop - 1}")
        return port

    return validate


def _given_or_default(expected: str) -> Validator:
    return exactly(expected) if expected else optional(exactly(""))


def tmpfs_options(settings: Settings) -> Validator:
    options = text(r"rw,noexec,nosuid,nodev,mode=1777,size=[1-9][0-9]{0,8}m")

    def validate(value: Any) -> str:
        clean: str = options(value)
        size = int(clean.rpartition("=")[2][:-1])
        require(size <= settings.memory_mb, f"must be at most {settings.memory_mb} MB")
        return clean

    return validate


def nano_cpus(settings: Settings) -> Validator:
    return number(1_000_000, int(max(settings.cpus, STARTUP_CPUS) * 1e9))


def ulimits(settings: Settings) -> Validator:
    """Accept limits of open files, file size and core dumps, and those that are harmless.

    -1 stands for no limit.
    """
    highest = {
        "nofile": settings.max_open_files,
        "fsize": settings.disk_mb * MB,
        "core": 0,
    } | dict.fromkeys(HARMLESS_ULIMITS, UNLIMITED)
    bounds = number(-1, UNLIMITED)
    items = list_of(
        record({"Name": one_of(*highest), "Soft": bounds, "Hard": bounds}), most=len(highest)
    )

    def validate(value: Any) -> list[dict[str, Any]]:
        clean: list[dict[str, Any]] = items(value)
        names = [one["Name"] for one in clean]
        require(len(set(names)) == len(names), "a limit occurs twice")
        require({"nofile", "fsize", "core"} <= set(names), "nofile, fsize and core are required")
        for one in clean:
            most = highest[one["Name"]]
            soft, hard = (UNLIMITED if one[key] == -1 else one[key] for key in ("Soft", "Hard"))
            require(soft <= hard <= most, f"{one['Name']} must be at most {most}")
        return clean

    return validate


def check_image(body: Mapping[str, Any], image: Found, settings: Settings) -> None:
    """Deny an image that would weaken the confinement of a container."""
    config = image.description.get("Config") or {}
    user = body.get("User") or config.get("User") or "root"
    allowed = re.fullmatch(USER, user, re.ASCII) and user.partition(":")[0] != "root"
    if settings.root_services and body["HostConfig"].get("CapAdd"):
        allowed = allowed or re.fullmatch(ROOT_USER, user, re.ASCII)
    require(allowed, "the container would run as root; set User")
    require(not config.get("Volumes"), "the image declares volumes, which have no disk limit")
    if size := body["HostConfig"].get("StorageOpt", {}).get("size"):
        # Some storage drivers count the image towards the limit.
        most = settings.disk_mb + image.description.get("Size", 0) // MB
        require(int(size[:-1]) <= most, f"StorageOpt.size must be at most {most}M")


def network(settings: Settings) -> Validator:
    """Accept the bridge network of a sandbox, in a small subnet of the portal's range."""
    fields: dict[str, Validator] = {
        "Name": text(rf"{SANDBOX_ID}_default"),
        "Driver": exactly("bridge"),
        "CheckDuplicate": optional(flag),
        "Labels": labels(settings),
        "Options": record(
            {
                BRIDGE_NAME: text(r"sbx[a-z0-9]{1,12}"),
                MASQUERADE: optional(one_of("true", "false")),
            }
        ),
        "IPAM": record(
            {
                "Driver": optional(exactly("default")),
                "Config": list_of(address_pool(settings), 1, 1),
                "Options": optional(exactly({})),
            }
        ),
        "Attachable": optional(exactly(False)),
        "EnableIPv6": optional(exactly(False)),
        "Ingress": optional(exactly(False)),
        "Internal": optional(flag),
        "Scope": optional(exactly("local")),
    }
    validate_fields = record(fields)

    def validate(value: Any) -> dict[str, Any]:
        clean: dict[str, Any] = validate_fields(value)
        name = f"{clean['Labels'][SANDBOX_LABEL]}_default"
        require(clean["Name"] == name, f"Name: must be {name}")
        return clean | {"CheckDuplicate": True}

    return validate


def save_point_repository(settings: Settings) -> str:
    """Return the repository of the instance's save points, as the portal names it."""
    return (
        f"sandboxportal-save-points/{hashlib.sha256(settings.instance.encode()).hexdigest()[:12]}"
    )


def save_point_labels(settings: Settings) -> Validator:
    """Accept the labels of an image of a save point."""
    return record(
        {
            INSTANCE_LABEL: exactly(settings.instance),
            SAVE_POINT_LABEL: text(SAVE_POINT_ID),
            SERVICE_LABEL: text(SERVICE_NAME),
        }
    )


def commit(settings: Settings) -> Validator:
    """Accept the configuration of a committed image: empty variables and labels."""
    fields = {"Env": list_of(text(r"[^=]+=")), "Labels": save_point_labels(settings)}
    return record(fields)


def image_configuration(settings: Settings) -> Validator:
    """Accept the configuration of an image of a save point; it has layers and no history."""
    words = optional(list_of(text()))
    return record(
        {
            "architecture": text(r"[a-z0-9_]{1,20}"),
            "os": exactly("linux"),
            "created": text(r"[0-9TZ:.+-]{10,40}"),
            "config": record(
                {
                    "Cmd": words,
                    "Entrypoint": words,
                    "Env": optional(list_of(text(r"[^=]+=.*"))),
                    "ExposedPorts": optional(mapping(r"[0-9]{1,5}/(?:tcp|udp)", exactly({}))),
                    "StopSignal": optional(text(r"[A-Z0-9+-]{1,16}")),
                    "User": optional(text(r"[A-Za-z0-9_.:-]{0,80}")),
                    "WorkingDir": optional(text(r"(?:/.*)?", 1000)),
                    "Labels": save_point_labels(settings),
                }
            ),
            "rootfs": record(
                {
                    "type": exactly("layers"),
                    "diff_ids": list_of(text(r"sha256:[0-9a-f]{64}"), 1, MAX_LAYERS),
                }
            ),
        }
    )


def image_name(settings: Settings) -> Validator:
    """Accept the name of an image of a save point."""
    repository = re.escape(save_point_repository(settings))
    return text(rf"{repository}:{SAVE_POINT_ID}-{SERVICE_NAME}")


def volume(settings: Settings) -> Validator:
    """Accept an empty volume without options, which marks a sandbox or belongs to its services."""
    validate_fields = record(
        {
            "Name": text(rf"{SANDBOX_ID}_claimed|{SHARED_VOLUME}"),
            "Driver": optional(exactly("local")),
            "DriverOpts": optional(exactly({})),
            "Labels": labels(settings),
        }
    )

    def validate(value: Any) -> dict[str, Any]:
        clean: dict[str, Any] = validate_fields(value)
        sandbox, shared = clean["Labels"][SANDBOX_LABEL], clean["Labels"].get(VOLUME_LABEL)
        names = {f"{sandbox}_claimed"}
        if shared is not None:
            names = {f"{sandbox}_volume_{shared}", f"{sandbox}_volume2_{shared}"}
        require(clean["Name"] in names, f"Name: must be one of: {', '.join(sorted(names))}")
        return clean

    return validate


def address_pool(settings: Settings) -> Validator:
    shape = record(
        {
            "Subnet": text(r"[0-9./]{9,18}"),
            "IPRange": optional(exactly("")),
            "Gateway": optional(text(r"[0-9.]{7,15}")),
            "AuxiliaryAddresses": optional(
                mapping(r"DefaultGatewayIPv4|unused", text(r"[0-9.]{7,15}"), most=1)
            ),
        }
    )

    def validate(value: Any) -> dict[str, Any]:
        clean: dict[str, Any] = shape(value)
        try:
            subnet = IPv4Network(clean["Subnet"])
            named = [clean.get("Gateway"), *clean.get("AuxiliaryAddresses", {}).values()]
            addresses = [IPv4Address(address) for address in named if address]
        except ValueError:
            require(False, "malformed address")
            raise
        inside = subnet.subnet_of(settings.subnets) and subnet.prefixlen >= NETWORK_PREFIX
        require(inside, f"Subnet: must be a /{NETWORK_PREFIX} of SANDBOX_SUBNETS")
        require(all(address in subnet for address in addresses), "an address is outside of Subnet")
        return clean | {"Subnet": str(subnet)}

    return validate


def left_out(_value: Any) -> None:
    """Accept any value, and leave it out."""


aliases = list_of(text(HOST_NAME), fewest=1, most=MAX_ALIASES)
"""The names of a service in its sandbox's network; no other network has them."""

COMMAND = record(
    {
        # The SDK repeats the container, which the path names.
        "Container": left_out,
        "User": optional(exactly("")),
        "Privileged": optional(exactly(False)),
        "Tty": optional(exactly(False)),
        "AttachStdin": optional(exactly(False)),
        "AttachStdout": optional(flag),
        "AttachStderr": optional(flag),
        "Cmd": list_of(text(), fewest=1),
        "Env": optional(list_of(text(r"[A-Za-z_][A-Za-z0-9_.]*=.*"))),
    }
)
COMMAND_START = record({"Detach": exactly(False), "Tty": exactly(False)})
DISCONNECT = record({"Container": text(r"[A-Za-z0-9][A-Za-z0-9_.-]*"), "Force": optional(flag)})

CONNECT = record(
    {
        "Container": text(r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
        "EndpointConfig": record({"Aliases": aliases}),
    }
)


def update(settings: Settings) -> Validator:
    return record({"NanoCpus": nano_cpus(settings)})


def own_filter(settings: Settings) -> Validator:
    """Accept the `filters` parameter of a list that is filtered by the instance's label."""
    label = f"{INSTANCE_LABEL}={settings.instance}"
    shape = record({"label": list_of(text(r"[A-Za-z0-9_.-]+(?:=[A-Za-z0-9_.:/-]*)?"), most=5)})

    def validate(value: Any) -> dict[str, list[str]]:
        clean: dict[str, list[str]] = shape(parse_json(value.encode()))
        require(label in clean["label"], "lists must be filtered by the label of the instance")
        return clean

    return validate


def network_filter(settings: Settings) -> Validator:
    """Accept the `filters` with which the portal lists networks.

    Although `answers` hides what is foreign, the number of networks that match a name or a label
    would tell it.
    """
    own = own_filter(settings)

    def validate(value: Any) -> Any:
        given = parse_json(value.encode())
        return given if given in ({}, BUILT_IN_BRIDGE) else own(value)

    return validate
