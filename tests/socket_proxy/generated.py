"""Generated requests: the portal's own, the same with one change, and attacks.

A proxy that denies everything would pass a test with attacks only, and one that looks at the wrong
place often denies an attack for another reason. So a third of the requests is what the portal may
send, with all values that it can choose, and must be let through; another third differs from that
in a single place.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from sandboxes.runtime import File, SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.containers.container_config import (
    ROOT_CAPABILITIES,
    ContainerConfig,
    ContainerPlan,
)
from sandboxes.runtime.docker.containers.files import archive
from sandboxes.runtime.docker.containers.save_points import archive as image_archive
from sandboxes.runtime.docker.names import Names

Draw = Callable[..., Any]


class Pairs(list[tuple[str, Any]]):
    """A JSON object as a list, so that a key can occur twice."""


@dataclass(frozen=True)
class World:
    """The objects on the engine that requests can name; the own ones come first."""

    instance: str
    sandbox: str
    image: str
    containers: tuple[str, ...]
    """Names and IDs, own and foreign, and beginnings of IDs."""
    networks: tuple[str, ...]
    images: tuple[str, ...]
    commands: tuple[str, ...]
    sandboxes: tuple[str, ...]
    """Names that a sandbox label could have to reach a foreign object."""
    volumes: tuple[str, ...] = ()
    saved: tuple[str, ...] = ("missing",)
    """Images of save points: name and ID of the own one come first."""
    started: bool = False
    """The own containers were started, so no files can be written any more."""

    def own(self) -> World:
        """Return the same world without what the portal doesn't name: own names and IDs only."""
        return replace(
            self,
            containers=self.containers[:2],
            networks=self.networks[:2],
            images=self.images[:2],
            commands=self.commands[:1],
            sandboxes=self.sandboxes[:1],
            volumes=self.volumes[:1],
            saved=self.saved[:2],
        )


PORTAL, ONE_CHANGE, ATTACK = KINDS = ("portal's own", "one change", "attack")
LET_THROUGH, DENIED = OUTCOMES = ("let through", "denied")


@dataclass(frozen=True)
class GeneratedRequest:
    """The bytes of a request, and what kind of request it is."""

    kind: str
    content: bytes


SAVE_POINT = "sp_0123456789abcdef"
LAYERS = [f"sha256:{digit * 64}" for digit in "78"]
"""Those of the own image of a save point."""
SAVED_IMAGE = "SAVED-IMAGE"
"""Stands for the archive of that image."""

VERSIONS = [f"/v1.{minor}" for minor in range(12, 42)] + [
    *("/v1.51", "/v0", "/v1", "/v1.41.0", "/v01.41", "/v1.410", "/v1.041", "/v2.0", "/V1.41"),
    *("/v1.41/v1.23", "/v1.23/v1.41", "/v1.41/", "/v1.4%31", "/v../v1.41", "/x/v1.41"),
]
DANGEROUS: dict[str, list[Any]] = {
    "Binds": [["/:/host"], ["/var/run/docker.sock:/s"], [], None],
    "Mounts": [
        [{"Type": "bind", "Source": "/", "Target": "/host"}],
        [{"Type": "volume", "Source": "OWN-VOLUME", "Target": "/data"}],
        [{"Type": "volume", "Source": "", "Target": "/data"}],
        [{"Type": "volume", "Source": "SANDBOX_volume_site", "Target": "/proc/x"}],
        [{"Type": "tmpfs", "Target": "/x"}],
    ],
    "Source": ["/", "/var/run/docker.sock", "OWN-VOLUME", "SANDBOX_volume_missing", None],
    "Target": ["/", "/data/../..", "data", "/sys/x"],
    "Type": ["bind", "npipe", "Volume", None],
    "VolumeOptions": [{"DriverConfig": {"Name": "local", "Options": {"device": "/"}}}],
    "BindOptions": [{"Propagation": "shared"}],
    "Volumes": [{"/x": {}}],
    "VolumesFrom": [["FOREIGN"]],
    "VolumeDriver": ["local"],
    "Privileged": [True, 1, "true"],
    "CapAdd": [["ALL"], ["SYS_ADMIN"], ["CHOWN"], [*ROOT_CAPABILITIES, "SYS_PTRACE"]],
    "CapDrop": [[], None, ["ALL", "CHOWN"], ["all"], "ALL"],
    "Capabilities": [["CAP_SYS_ADMIN"]],
    "SecurityOpt": [[], ["seccomp=unconfined"], ["no-new-privileges", "apparmor=unconfined"]],
    "PidMode": ["host", "container:FOREIGN"],
    "IpcMode": ["host", "shareable", "container:FOREIGN", "", None],
    "UTSMode": ["host"],
    "UsernsMode": ["host"],
    "CgroupnsMode": ["host"],
    "Cgroup": ["container:FOREIGN"],
    "CgroupParent": ["/", "../../.."],
    "NetworkMode": ["host", "bridge", "default", "", "container:FOREIGN", "FOREIGN-NETWORK"],
    "Devices": [[{"PathOnHost": "/dev/sda", "PathInContainer": "/d", "CgroupPermissions": "rwm"}]],
    "DeviceRequests": [[{"Count": -1}]],
    "DeviceCgroupRules": [["a *:* rwm"]],
    "Sysctls": [{"net.ipv4.ip_forward": "1"}],
    "MaskedPaths": [[]],
    "ReadonlyPaths": [[]],
    "Runtime": ["runc", "other", "io.containerd.runtime.v1.linux"],
    "Links": [["FOREIGN:x"]],
    "ExtraHosts": [["x:1.2.3.4"]],
    "GroupAdd": [["0"], ["docker"]],
    "PublishAllPorts": [True],
    "PortBindings": [
        {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "16384"}]},
        {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "22"}]},
        {"80/tcp": [{"HostPort": "16384"}]},
        {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        {"80/tcp": [{"HostIp": "127.0.0.1"}, {"HostIp": "::"}]},
        {"80/tcp": []},
        {"80/tcp": None},
        {"1-65535/tcp": [{"HostIp": "127.0.0.1"}]},
    ],
    "HostIp": ["0.0.0.0", "::", "", None, "127.0.0.2"],
    "HostPort": ["80", "1-2", 80, "16384", "32768", "016384", "16384-16390"],
    "RestartPolicy": [{"Name": "always"}, {"name": "always"}],
    "AutoRemove": [True],
    "ContainerIDFile": ["/etc/x"],
    "LogConfig": [{"Type": "syslog"}, {"Type": "json-file"}, {"Type": "json-file", "Config": {}}],
    "Memory": [0, -1, 1 << 50, None, 1.5, "1", True],
    "MemorySwap": [-1, 0, 1 << 50],
    "NanoCpus": [0, -1, 10**12],
    "CpuQuota": [-1],
    "CpusetCpus": ["0-63"],
    "PidsLimit": [0, -1, 1 << 40, None],
    "ShmSize": [0, 1 << 50],
    "Ulimits": [[], None, *([{"Name": name, "Soft": -1, "Hard": -1}] for name in ("core", "nice"))],
    "Hard": [-1, -2, 1 << 50, None, "1", True, 1.5],
    "Soft": [-1, -2, 1 << 50, None],
    "OomScoreAdj": [-1000, 0],
    "OomKillDisable": [True],
    "Init": [False, None],
    "Tmpfs": [{"/x": ""}, {"/x": "exec"}, {"/x": "rw,noexec,nosuid,nodev,mode=1777,size=99999m"}],
    "StorageOpt": [{"size": "9999999999M"}, {"size": "1G"}],
    "User": ["root", "0", "00", "+0", "-0", "0:0", "root:root", "\u0660", ""],
    "Image": ["FOREIGN-IMAGE", "", "debian"],
    "Healthcheck": [{"Test": ["CMD", "x"]}, None],
    "Test": [["CMD-SHELL", "x"], [], ["NONE", "x"], None],
    "Interval": [10**9],
    "Shell": [["/bin/sh", "-c"]],
    "OnBuild": [["RUN id"]],
    "Hostname": ["a b", "x" * 64, "../x"],
    "Domainname": ["example.com"],
    "StopSignal": ["SIGKILL; id", "0", ""],
    "WorkingDir": ["../..", "relative"],
    "Entrypoint": ["sh", [None], [["sh"]]],
    "Dns": [[], ["8.8.8.8"], ["127.0.0.1", "10.0.0.1"]],
    "DnsOptions": [["ndots:5"]],
    "DnsSearch": [["example.com"]],
    "Annotations": [{"run.oci.hooks": "x"}],
    "KernelMemory": [1],
    "CpuRealtimeRuntime": [950_000],
    "BlkioDeviceReadBps": [[{"Path": "/dev/sda", "Rate": 1}]],
    "Labels": [{}, {"sandboxportal.instance": "production"}, None],
    "HostConfig": [{}, {"Privileged": True}, None, []],
    "NetworkingConfig": [{"EndpointsConfig": {"bridge": {}}}],
    "EndpointsConfig": [{"FOREIGN-NETWORK": {}}, {"bridge": {"Aliases": ["x"]}}],
    "NetworkID": ["bridge", "FOREIGN-NETWORK", "host"],
    "IPAMConfig": [{"IPv4Address": "10.214.0.3"}],
    "DriverOpts": [{"x": "y"}],
    "MacAddress": ["02:42:ac:11:00:02"],
    "Aliases": [["x"], ["x.example"], None],
    "Driver": ["macvlan", "ipvlan", "host", "overlay", ""],
    "Options": [{}, {"parent": "eth0"}, {"com.docker.network.bridge.name": "docker0"}],
    "IPAM": [{}, {"Driver": "null"}, {"Config": []}],
    "Config": [[], None, [{"Subnet": "10.0.0.0/8"}]],
    "Subnet": ["0.0.0.0/0", "10.214.0.0/20", "192.168.0.0/28", "10.214.1.0/28", "::/64"],
    "Gateway": ["8.8.8.8", "10.214.1.1"],
    "ConfigOnly": [True],
    "ConfigFrom": [{"Network": "x"}],
    "Attachable": [True],
    "Internal": [True],
    "Ingress": [True],
    "EnableIPv6": [True],
    "Scope": ["swarm"],
    "Name": ["FOREIGN-NETWORK", "bridge", "x_default", "rtprio", "nice", "NOFILE", "memlock"],
    "AttachStdin": [True],
    "Tty": [True],
    "Detach": [True],
    "Cmd": [[], ["id"], "id"],
    "Env": [["X=1"], ["\ud800=x"], None],
    "Container": ["FOREIGN", ""],
    "Force": [True],
    "sandboxportal.instance": ["production", "", None],
    "sandboxportal.sandbox": ["SANDBOX", "host", "container:FOREIGN"],
    "com.docker.compose.project": ["other", "SANDBOX"],
    "traefik.enable": ["true"],
    "sandboxportal.volume": ["x", "../x", "site"],
    "com.docker.network.bridge.name": ["docker0", "sbx0", "sbxother000000"],
    "com.docker.network.bridge.enable_ip_masquerade": ["yes", "1", None],
    "com.docker.network.container_iface_prefix": ["eth"],
}
HOST_KEYS = [key for key in DANGEROUS if key[0].isupper()]
OTHER_OPERATIONS = [
    *("POST /build", "POST /commit?container=OWN", "POST /images/create?fromImage=x"),
    *(
        "POST /images/load",
        "DELETE /images/IMAGE",
        "POST /images/KEPT/tag?repo=x",
        "POST /images/IMAGE/tag?repo=x",
    ),
    *("GET /images/IMAGE/history", "GET /images/IMAGE/get", "GET /events", "GET /system/df"),
    *("POST /containers/OWN/attach", "GET /containers/OWN/attach/ws", "GET /containers/OWN/top"),
    *("POST /containers/OWN/rename?name=FOREIGN", "POST /containers/OWN/kill", "POST /session"),
    *("POST /containers/OWN/restart", "POST /containers/OWN/pause", "POST /containers/prune"),
    *("GET /containers/OWN/archive?path=/", "PUT /containers/OWN/archive?path=/"),
    *("GET /containers/OWN/export", "GET /containers/OWN/changes", "POST /containers/OWN/wait"),
    *("POST /networks/prune", "POST /volumes/prune"),
    *("GET /secrets", "GET /configs", "GET /plugins", "POST /swarm/init", "POST /auth"),
    *("POST /exec/COMMAND/resize", "GET /services", "POST /services/create", "OPTIONS /info"),
    *("HEAD /containers/OWN/archive?path=/", "POST /grpc", "GET /debug/vars", "GET /"),
]
QUERIES: dict[str, list[str]] = {
    "filters": [
        *("", "{}", "null", "[]", "OWN-FILTER"),
        *('{"label":["sandboxportal.instance"]}', '{"name":["x"]}'),
    ],
    "name": ["x", "FOREIGN", "OWN"],
    "all": ["1", "True", "yes"],
    "size": ["1"],
    "limit": ["-1", "1"],
    "since": ["0", "FOREIGN"],
    "before": ["FOREIGN"],
    "stdout": ["1"],
    "follow": ["1", "0", "true", " 1", "t"],
    "tail": ["all", "5", "-1"],
    "stream": ["1", "0", "", "false"],
    "one-shot": ["1"],
    "link": ["1", "0", "on"],
    "v": ["1"],
    "force": ["1", "true"],
    "platform": ["linux"],
    "path": ["/", "/run/secrets", "."],
    "type": ["image", "volume", "", "container"],
    "noOverwriteDirNonDir": ["1"],
    "copyUIDGID": ["1", "0"],
    "t": ["1"],
    "signal": ["KILL"],
    "container": ["FOREIGN", "OWN"],
    "repo": ["company/private", "OWN-REPOSITORY", "", "sandboxportal/tiny"],
    "tag": ["latest", f"{SAVE_POINT}-web", f"{SAVE_POINT}-other", ""],
    "pause": ["0", "1", "false"],
    "changes": ["ENV X=1", "USER root"],
    "noprune": ["0", "1"],
    "quiet": ["1"],
    "checkpoint": ["x"],
    "verbose": ["1"],
}


def portals_archive() -> bytes:
    """Return the portal's archive of a file and of the directory of secrets."""
    contents = {"/etc/app.conf": File("x"), "/run/secrets/key": File("y")}
    return archive(ServiceSpec("spare", "x", 48, 0.5, 24, files=contents))


def hostile_archives() -> list[bytes]:
    """Return archives of what the portal never writes."""

    def packed(name: str, **header: Any) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            member = tarfile.TarInfo(name)
            for key, value in header.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(b"\0" * member.size))
        return content.getvalue()

    return [
        packed("../escape", size=1),
        packed("/absolute", size=1),
        packed("etc/../../escape", size=1),
        packed("etc/app", mode=0o4755, size=1),
        packed("etc/owner", uid=1000, gid=1000, uname="x"),
        packed("link", type=tarfile.SYMTYPE, linkname="/"),
        packed("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        packed("device", type=tarfile.CHRTYPE, devmajor=1, devminor=1),
        packed("etc", type=tarfile.DIRTYPE, mode=0o777),
        packed("etc/passwd", size=1),
        packed("etc/group", size=1),
        packed("run/secrets", type=tarfile.DIRTYPE, mode=0o6777),
        packed("etc/x", size=10)[:700],
        packed("etc/x", size=1) + packed("link", type=tarfile.SYMTYPE, linkname="/"),
        packed("a/" * 200 + "x"),
        b"\x1f\x8b" + b"x" * 600,
        b"{}",
    ]


HOSTILE_ARCHIVES = hostile_archives()


def saved_image(
    world: World, layers: list[str] | None = None, name: str = "", **config: Any
) -> bytes:
    """Return the portal's archive of the own image of a save point, or one with changes."""
    names = Names(world.instance)
    name = name or f"{names.save_point_repository}:{names.save_point_tag(SAVE_POINT, 'web')}"
    image = {
        "RootFS": {"Layers": layers or LAYERS},
        "Architecture": "amd64",
        "Os": "linux",
        "Created": "2026-11-29T12:00:00.5Z",
    }
    labels = names.save_point_labels(SAVE_POINT, "web") | config.pop("Labels", {})
    usual = {"User": "65534", "Env": ["PATH=/bin"], "ExposedPorts": {"80/tcp": {}}}
    return image_archive(name, image, usual | config, labels)


def hostile_images(world: World) -> list[bytes]:
    """Return archives of images that the portal never loads."""
    good = saved_image(world)
    return [
        saved_image(world, ["sha256:" + "9" * 64]),
        saved_image(world, LAYERS[:1]),
        saved_image(world, [*LAYERS, "../../etc/passwd"]),
        saved_image(world, name="company/private:1"),
        saved_image(world, name=f"company/private:{SAVE_POINT}-web"),
        saved_image(world, Labels={"sandboxportal.instance": "other"}),
        saved_image(world, Labels={"sandboxportal.image": "x"}),
        saved_image(world, Labels={"sandboxportal.service": "other"}),
        saved_image(world, Cmd=["sh", None]),
        good.replace(b'"type": "layers"', b'"type": "foreign"'),
        good.replace(b"manifest.json", b"other.json\0\0\0"),
        good + good,
        good[:1500],
    ]


Operation = tuple[str, str, dict[str, str], Any]
"""Method, path, query and body."""

OWN_LABELS = {"sandboxportal.instance": "INSTANCE-NAME", "sandboxportal.sandbox": "SANDBOX"}
KNOWN_OPERATIONS: list[Operation] = [
    ("GET", "/_ping", {}, None),
    ("HEAD", "/_ping", {}, None),
    ("GET", "/version", {}, None),
    ("GET", "/info", {}, None),
    ("GET", "/images/json", {"only_ids": "0", "all": "0"}, None),
    ("GET", "/images/json", {"filters": "OWN-FILTER"}, None),
    ("GET", "/images/IMAGE/json", {}, None),
    ("GET", "/images/KEPT/json", {}, None),
    ("POST", "/images/load", {}, SAVED_IMAGE),
    ("DELETE", "/images/KEPT", {"force": "False", "noprune": "True"}, None),
    ("POST", "/containers/OWN/pause", {}, None),
    (
        "POST",
        "/commit",
        {
            "container": "OWN",
            "repo": "OWN-REPOSITORY",
            "tag": f"{SAVE_POINT}-web",
            "pause": "False",
        },
        {
            "Env": ["KEY=", "_x.y="],
            "Labels": {
                "sandboxportal.instance": "INSTANCE-NAME",
                "sandboxportal.save-point": SAVE_POINT,
                "sandboxportal.service": "web",
            },
        },
    ),
    ("GET", "/networks", {"filters": "{}"}, None),
    ("GET", "/networks/NETWORK", {}, None),
    ("DELETE", "/networks/NETWORK", {}, None),
    ("POST", "/networks/NETWORK/disconnect", {}, {"Container": "OWN", "Force": True}),
    (
        "POST",
        "/networks/NETWORK/connect",
        {},
        {"Container": "OWN", "EndpointConfig": {"Aliases": ["web"]}},
    ),
    ("GET", "/containers/json", {"all": "1", "filters": "OWN-FILTER"}, None),
    ("GET", "/volumes", {"filters": "OWN-FILTER"}, None),
    ("GET", "/containers/OWN/json", {}, None),
    ("GET", "/containers/OWN/logs", {"stdout": "1", "tail": "all"}, None),
    ("GET", "/containers/OWN/stats", {"stream": "False"}, None),
    ("POST", "/containers/OWN/start", {}, None),
    ("POST", "/containers/OWN/stop", {"t": "1"}, None),
    ("POST", "/containers/OWN/unpause", {}, None),
    ("POST", "/containers/OWN/rename", {"name": "OWN-NAME"}, None),
    ("PUT", "/containers/OWN/archive", {"path": "/"}, portals_archive()),
    ("POST", "/volumes/create", {}, {"Name": "OWN-VOLUME", "Labels": OWN_LABELS}),
    (
        "POST",
        "/volumes/create",
        {},
        {
            "Name": "SANDBOX_volume_site",
            "Driver": "local",
            "DriverOpts": {},
            "Labels": OWN_LABELS | {"sandboxportal.volume": "site"},
        },
    ),
    ("POST", "/containers/OWN/update", {}, {"NanoCpus": 500_000_000}),
    ("POST", "/containers/OWN/exec", {}, {"Cmd": ["id"], "Privileged": False}),
    ("DELETE", "/containers/OWN", {"v": "True", "force": "True"}, None),
    ("POST", "/exec/COMMAND/start", {}, {"Detach": False, "Tty": False}),
    ("GET", "/exec/COMMAND/json", {}, None),
    ("DELETE", "/volumes/OWN-VOLUME", {"force": "True"}, None),
    ("GET", "/system/df", {"type": "volume"}, None),
]

CREATIONS = [("POST", "/containers/create"), ("POST", "/networks/create")]
"""Operations whose bodies are generated for each request."""


@dataclass(frozen=True)
class Wire:
    """A way to write a request."""

    headers: tuple[str, ...] = ("Content-Length: LENGTH",)
    line: str = "{method} {target} HTTP/1.1"
    end: str = "\r\n"
    content: Callable[[bytes], bytes] = bytes
    after: bytes = b""


MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HIDDEN = b"POST /v1.23/containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
USUAL = Wire()
WIRES = [
    Wire(
        ("Transfer-Encoding: chunked",),
        content=lambda body: b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    ),
    Wire(("Content-Length: LENGTH", "Transfer-Encoding: chunked")),
    Wire(("Transfer-Encoding: identity", "Content-Length: LENGTH")),
    Wire(("Content-Length: 0", "Content-Length: LENGTH")),
    Wire(("Content-Length: 0",)),
    Wire(("Content-Length: 0",), content=lambda body: HIDDEN),
    Wire(("Content-Length: +LENGTH",)),
    Wire(("Content-Length: LENGTH, LENGTH",)),
    Wire(("Content-Length: 99999999999",)),
    Wire(("Content-Length : LENGTH",)),
    Wire(("Content-Length: LENGTH", "Connection: Upgrade", "Upgrade: tcp")),
    Wire((f"X: y\r\n\r\n{HIDDEN.decode()}", "Content-Length: LENGTH")),
    Wire(("X: a\r\n b", "Content-Length: LENGTH")),
    Wire(("X: a\rContent-Length: 0", "Content-Length: LENGTH")),
    Wire(("X: \u00e9", "Content-Length: LENGTH")),
    Wire(end="\n"),
    Wire(line="{lower} {target} HTTP/1.1"),
    Wire(line="{method}  {target} HTTP/1.1"),
    Wire(line="{method} {target}\t HTTP/9.9"),
    Wire(line="{method} {target}"),
    Wire(line="{method} {target} HTTP/1.0"),
    Wire(after=HIDDEN),
    Wire(content=lambda body: body + b"{}"),
    Wire(content=lambda body: b"\xef\xbb\xbf" + body),
    Wire(content=lambda body: body.decode("latin-1").encode("utf-16")),
    Wire(content=lambda body: b"[" * 5000 + body),
    Wire(content=lambda body: body.replace(b'"', b'"\xff', 1)),
]


def container_body(world: World, egress: bool = False, **service_values: Any) -> dict[str, Any]:
    """Return the portal's own request for a container of the sandbox."""
    usual = {"user": "65534:65534", "ports": [8080], "tmpfs": {"/tmp": 8}, "command": ["sleep"]}
    service = ServiceSpec("spare", world.image, 48, 0.5, 24, **usual | service_values)
    spec = SandboxSpec(world.sandbox, "tiny", [service], [], disk_mb=64, egress=egress)
    plan = ContainerPlan(volumes={"site": f"{world.sandbox}_volume_site"})
    return ContainerConfig(Names(world.instance), "127.0.0.1").config(spec, service, {}, plan)


def network_body(world: World) -> dict[str, Any]:
    spec = SandboxSpec(f"{world.sandbox}x", "tiny", [], [], disk_mb=64)
    names = Names(world.instance)
    return {
        "Name": names.network(spec.id),
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Labels": names.network_labels(spec),
        "Options": {"com.docker.network.bridge.name": "sbxtest"},
        "IPAM": {
            "Driver": "default",
            "Config": [
                {
                    "Subnet": "10.214.15.224/28",
                    "IPRange": None,
                    "Gateway": "10.214.15.225",
                    "AuxiliaryAddresses": {"unused": "10.214.15.238"},
                }
            ],
        },
        "Attachable": False,
    }


def pairs(value: Any) -> Any:
    """Return a JSON value in which every object is a list of pairs."""
    if isinstance(value, dict):
        return Pairs((key, pairs(one)) for key, one in value.items())
    return [pairs(one) for one in value] if isinstance(value, list) else value


def write_json(value: Any) -> str:
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{write_json(one)}" for key, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_json, value)) + "]"
    return json.dumps(value)


def objects_in(value: Any) -> list[Pairs]:
    if isinstance(value, Pairs):
        return [value, *(found for _, one in value for found in objects_in(one))]
    return [found for one in value for found in objects_in(one)] if isinstance(value, list) else []


def written(query: dict[str, str]) -> str:
    return (
        "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items()) if query else ""
    )


SPELLINGS: list[Callable[[str], str]] = [
    str.lower,
    str.upper,
    str.swapcase,
    str.title,
    lambda key: key.replace("s", "\u017f", 1),
    lambda key: key.replace("k", "\u212a", 1),
    lambda key: f"{key} ",
    lambda key: f"{key}\0",
]


@st.composite
def requests(draw: Draw, world: World) -> GeneratedRequest:
    """Draw a request of one of the three kinds."""
    kind = draw(st.sampled_from([PORTAL, ONE_CHANGE, ATTACK]))
    generator = Generator(draw, world if kind == ATTACK else world.own())
    content = {
        PORTAL: generator.portals_own,
        ONE_CHANGE: lambda: generator.with_one_change(world),
        ATTACK: generator.attack,
    }[kind]()
    return GeneratedRequest(kind, content)


class Generator:
    """Draws the parts of one request."""

    def __init__(self, draw: Draw, world: World) -> None:
        self.draw, self.world = draw, world
        self.own_filter = json.dumps({"label": [f"sandboxportal.instance={world.instance}"]})

    def one_in(self, chances: int) -> bool:
        return bool(self.draw(st.integers(1, chances)) == 1)

    def pick(self, values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def portals_own(self) -> bytes:
        """Return what the portal may send."""
        method, path, query, body = self.own_operation()
        return self.wire(USUAL, method, self.own_path(path) + written(query), self.values(body))

    def with_one_change(self, world: World) -> bytes:
        """Return what the portal may send, but for one change, which can name any object."""
        method, path, query, body = self.own_operation()
        path, tree, how = self.own_path(path), self.values(body), USUAL
        self.world, target = world, f"{path}{written(query)}"
        change = self.pick([*["body"] * 3, "query", "path", "version", "wire", "object"])
        if change == "body" and isinstance(tree, bytes):
            tree = self.pick([*HOSTILE_ARCHIVES, *hostile_images(world)])
        elif change == "body":
            tree = Pairs() if tree is None else tree
            self.change(tree)
        elif change == "query":
            target = path + self.query(query, self.pick([1, 1, 2]))
        elif change == "path":
            target = self.misspell(path) + written(query)
        elif change == "version":
            target = self.pick(VERSIONS) + path.removeprefix("/v1.41") + written(query)
        elif change == "wire":
            how = self.pick(WIRES)
        else:
            method, path, query, body = self.known()
            target, tree = path + written(query), self.values(body)
        return self.wire(how, method, target, tree)

    def attack(self) -> bytes:
        """Return a request of any client, with several changes."""
        kinds = [self.container, self.container, self.network, self.other, self.old_start]
        method, path, query, body = self.pick(kinds + [self.known] * 3)()
        tree = self.values(body)
        if isinstance(tree, Pairs):
            for _ in range(self.pick([0, 1, 1, 2, 3])):
                self.change(tree)
        elif isinstance(tree, bytes):
            tree = self.pick([tree, *HOSTILE_ARCHIVES, *hostile_images(self.world)])
        path = self.pick(VERSIONS if self.one_in(3) else ["", "/v1.41"]) + path
        if self.one_in(5):
            path = self.misspell(path)
        how = self.pick(WIRES) if self.one_in(3) else USUAL
        return self.wire(how, method, path + self.query(query, self.pick([0, 0, 0, 1, 2])), tree)

    # Operations

    def own_operation(self) -> Operation:
        """Return an operation of the portal with values that it can choose."""
        operation: Operation = self.pick(
            [self.own_container, self.own_network] + [self.known] * 3
        )()
        # Files are only written before the first start.
        started = operation[0] == "PUT" and self.world.started
        return self.own_container() if started else operation

    def own_path(self, path: str) -> str:
        return str(self.pick(["", "/v1.41"])) + path

    def own_container(self) -> Operation:
        name = f"{self.world.sandbox}-spare-1"
        drawn = {
            "user": self.pick(["65534:65534", "1000", "nobody", "postgres:postgres"]),
            "ports": self.pick([[], [8080], [80, 5432]]),
            "tmpfs": self.pick([{}, {"/tmp": 8}, {"/run/x": 1, "/dev/shm/y": 200}]),
            "environment": self.pick([{}, {"A": "b"}, {"KEY": 'ü"\\\n', "_x.y": ""}]),
            "command": self.pick([(), ["sleep", "9"], ["/bin/sh", "-c", "true\n"]]),
            "entrypoint": self.pick([(), ["/docker-entrypoint.sh"]]),
            "working_dir": self.pick(["", "/srv/app"]),
            "hostname": self.pick(["", "shop.local"]),
            "stop_signal": self.pick(["", "SIGINT", "SIGRTMIN+3"]),
            "shm_mb": self.pick([0, 1, 512]),
            "ulimits": self.pick([{}, {"nofile": (1024, 65536)}, {"memlock": (-1, -1)}]),
            "files": self.pick([{}, {"/etc/app.conf": File("x"), "/run/secrets/key": File("y")}]),
            "read_only": self.pick([True, False]),
            "volumes": self.pick([{}, {"/data": "site"}, {"/data": "site", "/x/y": "site"}]),
            "aliases": self.pick([(), ["shop.local"]]),
        }
        if self.one_in(3):
            drawn |= {"root": True, "user": self.pick(["", "0", "root:root", "1000"])}
        body = container_body(self.world, self.pick([True, False]), **drawn)
        limit = self.draw(st.integers(4, 512)) * 1024 * 1024
        body["HostConfig"] |= {
            "Memory": limit,
            "MemorySwap": limit,
            "NanoCpus": self.draw(st.integers(10_000_000, 1_000_000_000)),
            "PidsLimit": self.draw(st.integers(1, 1024)),
        }
        for bindings in (body["HostConfig"].get("PortBindings") or {}).values():
            bindings[0]["HostPort"] = self.pick(["16384", "20000", "32767"])
        return "POST", "/containers/create", self.pick([{}, {"name": name}]), body

    def own_network(self) -> Operation:
        body = network_body(self.world) | {"Internal": self.pick([True, False])}
        body["Options"] |= self.pick([{}, {MASQUERADE: "true"}, {MASQUERADE: "false"}])
        body["IPAM"]["Config"][0] |= self.pick([{}, {"AuxiliaryAddresses": None}])
        return "POST", "/networks/create", {}, body

    def old_start(self) -> Operation:
        """Return a start with a configuration, which engines accepted below version 1.24."""
        body = {"Binds": ["/:/h"], "Privileged": True}
        return "POST", self.with_names("/containers/OWN/start"), {}, body

    def container(self) -> Operation:
        name = self.pick([f"{self.world.sandbox}-spare-1", *self.world.containers])
        query = {"name": name} if self.one_in(2) else {}
        return "POST", "/containers/create", query, container_body(self.world)

    def network(self) -> Operation:
        return "POST", "/networks/create", {}, network_body(self.world)

    def other(self) -> Operation:
        """Return an operation that the portal doesn't need."""
        method, _, target = self.pick(OTHER_OPERATIONS).partition(" ")
        path, _, query = self.with_names(target).partition("?")
        body = {} if method == "POST" and self.one_in(2) else None
        return method, path, dict([query.split("=")]) if query else {}, body

    def known(self) -> Operation:
        """Return an operation that the portal needs, on any object."""
        method, path, query, body = self.pick(KNOWN_OPERATIONS)
        query = {key: self.with_names(value) for key, value in query.items()}
        if body == SAVED_IMAGE:
            body = saved_image(self.world)
        return method, self.with_names(path), query, body

    def with_names(self, text: str) -> str:
        """Replace the words that stand for an object."""
        if text in ROOT_CAPABILITIES:
            return text
        for word, names in (
            ("OWN-FILTER", [self.own_filter]),
            ("OWN-NAME", [f"{self.world.sandboxes[0]}-web-{end}" for end in ("1", "previous")]),
            ("INSTANCE-NAME", [self.world.instance]),
            ("OWN-VOLUME", self.world.volumes),
            ("OWN-REPOSITORY", [Names(self.world.instance).save_point_repository]),
            ("KEPT", self.world.saved),
            ("FOREIGN-NETWORK", self.world.networks),
            ("NETWORK", self.world.networks),
            ("FOREIGN-IMAGE", self.world.images),
            ("IMAGE", self.world.images),
            ("COMMAND", self.world.commands),
            ("SANDBOX", self.world.sandboxes),
            ("FOREIGN", self.world.containers),
            ("OWN", self.world.containers),
        ):
            text = text.replace(word, self.pick(names)) if word in text else text
        return text

    # Bodies

    def values(self, value: Any) -> Any:
        """Return a JSON value with the names of objects, and every object as pairs."""
        if isinstance(value, dict):
            value = pairs(value)
        if isinstance(value, Pairs):
            return Pairs((self.with_names(key), self.values(one)) for key, one in value)
        if isinstance(value, list):
            return [self.values(one) for one in value]
        return self.with_names(value) if isinstance(value, str) else value

    def change(self, body: Pairs) -> None:
        """Add, repeat, replace or remove a key somewhere."""
        where = self.pick(objects_in(body))
        if where and self.one_in(5):
            where.pop(self.draw(st.integers(0, len(where) - 1)))
            return
        near = [key for key, _ in where if key in DANGEROUS]
        others = HOST_KEYS if self.one_in(2) else [*DANGEROUS]
        key = self.pick(near if near and self.one_in(2) else others)
        value = self.values(self.pick(DANGEROUS[key]))
        same = [place for place, (name, _) in enumerate(where) if name == key]
        if same and self.one_in(2):
            where[same[0]] = (key, value)
            return
        spelled = self.pick(SPELLINGS)(key) if self.one_in(3) else key
        where.insert(self.draw(st.integers(0, len(where))), (spelled, value))

    # Queries and paths

    def query(self, given: dict[str, str], more: int) -> str:
        """Return a query with this many more parameters."""
        parts = [f"{name}={quote(value)}" for name, value in given.items()]
        for _ in range(more):
            name = self.pick([name for name in [*given, *QUERIES] if name in QUERIES])
            value = self.with_names(self.pick(QUERIES[name]))
            if self.one_in(4):
                name = self.pick([name.upper(), f"%{ord(name[0]):02x}{name[1:]}"])
            text = quote(quote(value)) if self.one_in(6) else quote(value)
            parts.insert(self.draw(st.integers(0, len(parts))), f"{name}={text}")
        separator = ";" if self.one_in(20) else "&"
        return f"?{separator.join(parts)}" if parts else ""

    def misspell(self, path: str) -> str:
        """Write a path in a way that some servers read like the usual one."""
        place = self.draw(st.integers(0, max(0, len(path) - 1)))
        before, here, after = path[:place], path[place : place + 1], path[place + 1 :]
        encoded = f"%{ord(here or '/'):02x}"
        return str(
            self.pick(
                [
                    before + encoded + after,
                    before + encoded.replace("%", "%25") + after,
                    f"{before}/..{here}{after}",
                    f"{before}/.{here}{after}",
                    f"{before}/{here}{after}",
                    f"{before}{here};x{after}",
                    f"{before}{here}%00{after}",
                    f"{before}{here.upper()}{after}",
                    f"{before}{here}\\{after}",
                    f"{path}/",
                    f"{path}#",
                    f"/x/..{path}",
                    f"http://engine{path}",
                    f"/{path}",
                    path.lstrip("/"),
                ]
            )
        )

    def wire(self, spelling: Wire, method: str, target: str, tree: Any) -> bytes:
        """Return the bytes of a request."""
        written = tree
        if not isinstance(tree, bytes):
            written = b"" if tree is None else write_json(tree).encode("utf-8", "surrogatepass")
        content = spelling.content(written)
        headers = [line.replace("LENGTH", f"{len(content)}") for line in spelling.headers]
        line = spelling.line.format(method=method, lower=method.lower(), target=target)
        head = spelling.end.join([line, "Host: engine", *headers, "", ""])
        return head.encode("utf-8", "surrogatepass") + content + spelling.after
