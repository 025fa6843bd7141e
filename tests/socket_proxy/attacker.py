"""A client of the socket proxy that wants more than a sandbox may have."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from sandboxes.runtime import SandboxSpec
from sandboxes.runtime.docker.containers.container_config import ContainerConfig
from sandboxes.runtime.docker.names import Names
from tests.socket_proxy.harness import ProxiedHarness

TAKE_OVER = {"Binds": ["/:/host"], "PidMode": "host", "NetworkMode": "host", "Privileged": True}

LIMITS = [{"Name": name, "Soft": 0, "Hard": 0} for name in ("nofile", "core", "fsize")]
FORBIDDEN_OPTIONS: dict[str, dict[str, Any]] = {
    "privileged": {"Privileged": True},
    "host files": {"Binds": ["/:/host"]},
    "mounts": {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
    "another container's volumes": {"VolumesFrom": ["other"]},
    "volume driver": {"VolumeDriver": "local"},
    "added capability": {"CapAdd": ["SYS_ADMIN"]},
    "undropped capabilities": {"CapDrop": []},
    "some capabilities dropped": {"CapDrop": ["ALL", "CHOWN"]},
    "capabilities by the old key": {"Capabilities": ["SYS_ADMIN"]},
    "no seccomp": {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]},
    "the engine's seccomp profile": {"SecurityOpt": ["no-new-privileges"]},
    "another seccomp profile": {
        "SecurityOpt": ["no-new-privileges", 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']
    },
    "new privileges": {"SecurityOpt": ["no-new-privileges:false"]},
    "host network": {"NetworkMode": "host"},
    "default network": {"NetworkMode": "default"},
    "bridge network": {"NetworkMode": "bridge"},
    "another container's network": {"NetworkMode": "container:other"},
    "host processes": {"PidMode": "host"},
    "another container's processes": {"PidMode": "container:other"},
    "host shared memory": {"IpcMode": "host"},
    "shareable memory": {"IpcMode": "shareable"},
    "another container's memory": {"IpcMode": "container:other"},
    "host name": {"UTSMode": "host"},
    "host users": {"UsernsMode": "host"},
    "host control groups": {"CgroupnsMode": "host"},
    "control group": {"Cgroup": "container:other"},
    "parent of control groups": {"CgroupParent": "/"},
    "device": {"Devices": [{"PathOnHost": "/dev/sda"}]},
    "device rules": {"DeviceCgroupRules": ["a *:* rwm"]},
    "graphics cards": {"DeviceRequests": [{"Count": -1}]},
    "kernel parameters": {"Sysctls": {"net.ipv4.ip_forward": "1"}},
    "visible kernel files": {"MaskedPaths": [], "ReadonlyPaths": []},
    "another runtime": {"Runtime": "io.containerd.runtime.v1.linux"},
    "default runtime by name": {"Runtime": "runc"},
    "links": {"Links": ["other:other"]},
    "other hosts": {"ExtraHosts": ["other:127.0.0.1"]},
    "other resolver": {"Dns": ["8.8.8.8"]},
    "groups": {"GroupAdd": ["docker"]},
    "all ports": {"PublishAllPorts": True},
    "fixed host port": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}]}},
    "restarts": {"RestartPolicy": {"Name": "always"}},
    "automatic removal": {"AutoRemove": True},
    "file of the container's ID": {"ContainerIDFile": "/etc/cron.d/x"},
    "other log driver": {"LogConfig": {"Type": "syslog", "Config": {}}},
    "endless log": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "100g"}}},
    "no init process": {"Init": False},
    "no memory limit": {"Memory": 0},
    "too much memory": {"Memory": 1 << 40, "MemorySwap": 1 << 40},
    "unlimited swap": {"MemorySwap": -1},
    "no CPU limit": {"NanoCpus": 0},
    "too many CPUs": {"NanoCpus": 64_000_000_000},
    "no process limit": {"PidsLimit": -1},
    "too many processes": {"PidsLimit": 1_000_000},
    "no ulimits": {"Ulimits": []},
    "core dumps": {"Ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}]},
    "real-time priority": {"Ulimits": [*LIMITS, {"Name": "rtprio", "Soft": 99, "Hard": 99}]},
    "endless files": {"Ulimits": [*LIMITS[:-1], {"Name": "fsize", "Soft": 0, "Hard": -1}]},
    "endless open files": {"Ulimits": [*LIMITS[1:], {"Name": "nofile", "Soft": -1, "Hard": -1}]},
    "soft limit above the hard one": {
        "Ulimits": [*LIMITS, {"Name": "memlock", "Soft": -1, "Hard": 1}]
    },
    "never killed": {"OomScoreAdj": -1000},
    "no killing": {"OomKillDisable": True},
    "files over /dev": {"Tmpfs": {"/dev/shm": "rw,exec,dev,suid"}},
    "lower-case key": {"privileged": True},
    "upper-case key": {"PRIVILEGED": True},
    "key with a long s": {"Bind\u017f": ["/:/host"]},
} | {
    f"published at {address or 'every address'!r}": {
        "PortBindings": {"8080/tcp": [{"HostIp": address, "HostPort": "16384"}]}
    }
    for address in ("0.0.0.0", "::", "", "127.0.0.2", "0", "127.1", None)
}
FORBIDDEN_KEYS: dict[str, dict[str, Any]] = {
    "lower-case HostConfig": {"hostconfig": TAKE_OVER},
    "HostConfig with a Kelvin sign": {"Networ\u212aingConfig": {}},
    "volumes": {"Volumes": {"/data": {}}},
    "root": {"User": "root"},
    "root by number": {"User": "0:0"},
    "root with zeros": {"User": "00"},
    "root with a sign": {"User": "+0"},
    "health check": {"Healthcheck": {"Test": ["CMD", "true"]}},
    "network disabled": {"NetworkDisabled": True},
    "address of the network card": {"MacAddress": "02:42:ac:11:00:02"},
    "no label": {"Labels": {}},
    "another instance": {"Labels": {"sandboxportal.instance": "production"}},
    "no image": {"Image": ""},
}


@dataclass
class Attacker:
    """A client of the proxy's socket that has a sandbox of its own; and what isn't its own."""

    harness: ProxiedHarness
    spec: SandboxSpec
    own: str
    """Name of the own container."""
    foreign: str
    foreign_network: str
    """Name of a network of a Compose project, `<project>_default`."""

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        return self.harness.ask(method, path, body)

    def body(self, **host: Any) -> dict[str, Any]:
        """Return the portal's request for a container of the sandbox, with another HostConfig."""
        config = ContainerConfig(Names(self.harness.instance), "127.0.0.1")
        service = self.spec.services[1]
        body = copy.deepcopy(config.config(self.spec, service, {}))
        body["Labels"]["sandboxportal.service"] = "spare"
        body["Labels"]["com.docker.compose.service"] = "spare"
        body["HostConfig"] |= host
        return body

    def state_of_engine(self) -> dict[str, Any]:
        """Return everything on the engine that an attack may not change."""
        client = self.harness.client
        foreign = client.inspect_container(self.foreign)
        keys = ("Id", "State", "HostConfig", "RestartCount", "ExecIDs", "NetworkSettings")
        network = client.inspect_network(self.foreign_network)
        return {
            "foreign container": {key: foreign[key] for key in keys},
            "foreign network": {key: network[key] for key in ("Id", "Containers")},
            "own objects": sorted(self.harness.remaining()),
        }
