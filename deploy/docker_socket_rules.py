"""What the portal may ask of the engine through `docker_socket_proxy.py`: which calls, of what.

The engine reads keys of JSON whatever their case, so every key that is not spelt as the portal
spells it is refused, where it could mean anything.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any
from urllib.parse import parse_qs

INSTANCE_LABEL, SANDBOX_LABEL = "sandboxportal.instance", "sandboxportal.sandbox"
OBJECT_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
CONTAINER_NAME = r"[a-z0-9][a-z0-9_-]{7,}-[a-z0-9_-]+-1"
IMAGE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:@-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:@-]*)*"

CONTAINER_KEYS = {
    *("Image", "Hostname", "Env", "User", "WorkingDir", "Labels", "ExposedPorts", "Healthcheck"),
    *("HostConfig", "NetworkingConfig", "Cmd", "Entrypoint", "StopSignal"),
}
HOST_KEYS = {
    *("NetworkMode", "PortBindings", "Init", "LogConfig", "Runtime", "RestartPolicy", "StorageOpt"),
    *("CapDrop", "SecurityOpt", "Privileged", "IpcMode", "ReadonlyRootfs", "Tmpfs", "Memory"),
    *("MemorySwap", "NanoCpus", "PidsLimit", "ShmSize", "OomScoreAdj", "Ulimits", "Dns"),
    "DnsOptions",
}
REQUIRED_HOST_CONFIG = {
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges"],
    "Privileged": False,
}
NETWORK_KEYS = {
    *("Name", "Driver", "Options", "IPAM", "CheckDuplicate", "Labels", "Attachable", "Internal"),
    *("EnableIPv6", "Scope", "Ingress"),
}
BRIDGE_NAME_OPTION = "com.docker.network.bridge.name"
NETWORK_OPTIONS = {BRIDGE_NAME_OPTION, "com.docker.network.bridge.enable_ip_masquerade"}
EXEC_KEYS = {
    *("Container", "User", "Privileged", "Tty", "AttachStdin", "AttachStdout", "AttachStderr"),
    *("Cmd", "Env", "WorkingDir", "DetachKeys"),
}


Rule = Callable[[str, str, Any], None]
"""Takes the object's name, the query and the body."""


class RequestDenied(Exception):
    """It is not let through; the message says why."""


def require_known_keys(given: Any, keys: set[str]) -> None:
    strange = set(given) - keys
    require(not strange, f"{', '.join(sorted(strange))} is not known")


def require(holds: object, why: str) -> None:
    if not holds:
        raise RequestDenied(why)


class ProxyPolicy:
    """What one instance of the portal may ask of the engine. Each raises RequestDenied."""

    def __init__(self, instance: str, subnets: str, inspect: Callable[[str], Any]) -> None:
        self.instance, self.inspect = instance, inspect
        self.subnets = ipaddress.IPv4Network(subnets)
        self._own_container = self._own(
            "containers", lambda told: told["Config"]["Labels"], "/json"
        )
        self._own_network = self._own("networks", lambda told: told["Labels"])
        self._own_volume = self._own("volumes", lambda told: told["Labels"])
        self.table: list[tuple[str, str, Rule]] = [
            ("GET", r"/(_ping|version|info|networks|images/json)", self._allow),
            ("HEAD", r"/_ping", self._allow),
            ("GET", rf"/images/{IMAGE_NAME}/json", self._allow),
            ("GET", r"/(containers/json|volumes)", self._check_list),
            ("POST", r"/networks/create", self._check_network),
            ("POST", r"/containers/create", self._check_container),
            ("GET", rf"/containers/(?P<id>{OBJECT_NAME})/(json|logs|stats)", self._own_container),
            ("POST", rf"/containers/(?P<id>{OBJECT_NAME})/start", self._own_container),
            ("POST", rf"/containers/(?P<id>{OBJECT_NAME})/update", self._check_update),
            ("POST", rf"/containers/(?P<id>{OBJECT_NAME})/exec", self._check_exec_create),
            ("DELETE", rf"/containers/(?P<id>{OBJECT_NAME})", self._own_container),
            ("GET", rf"/networks/(?P<id>{OBJECT_NAME})", self._own_network),
            ("POST", rf"/networks/(?P<id>{OBJECT_NAME})/disconnect", self._own_network),
            ("DELETE", rf"/networks/(?P<id>{OBJECT_NAME})", self._own_network),
            ("DELETE", rf"/volumes/(?P<id>{OBJECT_NAME})", self._own_volume),
            ("POST", rf"/exec/(?P<id>{OBJECT_NAME})/start", self._check_exec),
            ("GET", rf"/exec/(?P<id>{OBJECT_NAME})/json", self._check_exec),
        ]

    def check(self, method: str, target: str, body: Any) -> None:
        path, _, query = target.partition("?")
        path = re.sub(r"^/v1\.\d+(?=/)", "", path)
        for verb, pattern, rule in self.table:
            if verb == method and (found := re.fullmatch(pattern, path)):
                rule(found.groupdict().get("id", ""), query, body)
                return
        raise RequestDenied(f"{method} {path} is not among what the portal needs")

    def _allow(self, _id: str, _query: str, body: Any) -> None:
        require(body is None, "a body is not expected here")

    def _check_list(self, _id: str, query: str, _body: Any) -> None:
        filters = json.loads(parse_qs(query).get("filters", ["{}"])[0])
        named = filters.get("name", ())
        # Who has the name of a sandbox's container may be somebody else.
        one = len(named) == 1 and re.fullmatch(CONTAINER_NAME, *named)
        mine = f"{INSTANCE_LABEL}={self.instance}" in filters.get("label", ())
        require(mine or one, "a list has to ask for the label of the instance")

    def _own(self, kind: str, labels: Callable[[Any], Any], end: str = "") -> Rule:
        """The object bears the instance's label, or is not there: then the engine says so."""

        def rule(name: str, _query: str, _body: Any) -> None:
            if (told := self.inspect(f"/{kind}/{name}{end}")) is not None:
                self._require_label(labels(told))

        return rule

    def _require_label(self, labels: Mapping[str, str] | None) -> None:
        require((labels or {}).get(INSTANCE_LABEL) == self.instance, "it is not of this instance")

    def _check_exec(self, name: str, _query: str, body: Any) -> None:
        require_known_keys(body or {}, {"Detach", "Tty"})
        if found := self.inspect(f"/exec/{name}/json"):
            self._own_container(found["ContainerID"], "", None)

    def _check_exec_create(self, name: str, _query: str, body: Any) -> None:
        require_known_keys(body, EXEC_KEYS)
        require(not body.get("Privileged") and not body.get("User"), "it asks for privileges")
        self._own_container(name, "", None)

    def _check_update(self, name: str, _query: str, body: Any) -> None:
        require_known_keys(body, {"NanoCpus"})
        self._own_container(name, "", None)

    def _check_network(self, _id: str, _query: str, body: Any) -> None:
        require_known_keys(body, NETWORK_KEYS)
        self._require_label(body.get("Labels"))
        require(body.get("Driver") == "bridge", "its driver is not `bridge`")
        options, ipam = body.get("Options") or {}, body.get("IPAM") or {}
        require_known_keys(options, NETWORK_OPTIONS)
        require(
            options.get(BRIDGE_NAME_OPTION, "").startswith("sbx"),
            "its bridge is not a sandbox's by name",
        )
        require_known_keys(ipam, {"Driver", "Config", "Options"})
        require(ipam.get("Driver") in (None, "default"), "its addresses come from elsewhere")
        for pool in ipam.get("Config") or [{}]:
            require_known_keys(pool, {"Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"})
            subnet = ipaddress.IPv4Network(pool.get("Subnet", "0.0.0.0/0"))
            require(subnet.subnet_of(self.subnets), "its subnet is not of SANDBOX_SUBNETS")

    def _check_container(self, _id: str, _query: str, body: Any) -> None:
        require_known_keys(body, CONTAINER_KEYS)
        host = body.get("HostConfig") or {}
        require_known_keys(host, HOST_KEYS)
        self._require_label(body.get("Labels"))
        require(
            {name: host.get(name) for name in REQUIRED_HOST_CONFIG} == REQUIRED_HOST_CONFIG,
            "it is not dressed as it has to be",
        )
        require(host.get("IpcMode", "private") == "private", "it shares memory")
        self._check_networking(
            host, body.get("NetworkingConfig") or {}, body["Labels"].get(SANDBOX_LABEL)
        )
        log = host.get("LogConfig") or {}
        require_known_keys(log, {"Type", "Config"})
        require(log.get("Type", "json-file") == "json-file", "its log goes elsewhere")
        limited = host.get("Memory", 0) > 0 and host.get("PidsLimit", 0) > 0
        require(limited or host["NetworkMode"] == "none", "it has no limits")

    def _check_networking(self, host: Any, networking: Any, sandbox: str) -> None:
        own = f"{sandbox}_default"
        require(host.get("NetworkMode") in (own, "none"), "its network is not its sandbox's")
        require_known_keys(networking, {"EndpointsConfig"})
        require_known_keys(networking.get("EndpointsConfig") or {}, {own})
        for binding in chain(*(host.get("PortBindings") or {}).values()):
            require_known_keys(binding, {"HostIp", "HostPort"})
            require(not binding.get("HostPort"), "it asks for a certain port")
