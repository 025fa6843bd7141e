"""The requests that `docker_socket_proxy.py` allows, and what their bodies may contain.

The engine matches JSON keys regardless of case, so a key that isn't spelled as the portal spells it
is denied wherever it could have a meaning.
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
"""Takes the object's name, the query string, and the body. Raises RequestDenied."""


class RequestDenied(Exception):
    """The request isn't allowed; the message is the reason."""


def require(condition: object, reason: str) -> None:
    if not condition:
        raise RequestDenied(reason)


def require_known_keys(given: Any, known: set[str]) -> None:
    unknown = set(given) - known
    require(not unknown, f"unknown keys: {', '.join(sorted(unknown))}")


class ProxyPolicy:
    """The requests that one instance of the portal may send to the engine."""

    def __init__(self, instance: str, subnets: str, inspect: Callable[[str], Any]) -> None:
        self.instance, self.inspect = instance, inspect
        self.subnets = ipaddress.IPv4Network(subnets)
        self._own_container = self._own(
            "containers", lambda container: container["Config"]["Labels"], "/json"
        )
        own_network = self._own("networks", lambda network: network["Labels"])
        own_volume = self._own("volumes", lambda volume: volume["Labels"])
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
            ("GET", rf"/networks/(?P<id>{OBJECT_NAME})", own_network),
            ("POST", rf"/networks/(?P<id>{OBJECT_NAME})/disconnect", own_network),
            ("DELETE", rf"/networks/(?P<id>{OBJECT_NAME})", own_network),
            ("DELETE", rf"/volumes/(?P<id>{OBJECT_NAME})", own_volume),
            ("POST", rf"/exec/(?P<id>{OBJECT_NAME})/start", self._check_exec),
            ("GET", rf"/exec/(?P<id>{OBJECT_NAME})/json", self._check_exec),
        ]

    def check(self, method: str, target: str, body: Any) -> None:
        """Raise RequestDenied unless a rule allows the request."""
        path, _, query = target.partition("?")
        path = re.sub(r"^/v1\.\d+(?=/)", "", path)
        for verb, pattern, rule in self.table:
            if verb == method and (match := re.fullmatch(pattern, path)):
                rule(match.groupdict().get("id", ""), query, body)
                return
        raise RequestDenied(f"{method} {path} isn't on the list of allowed requests")

    def _allow(self, _id: str, _query: str, body: Any) -> None:
        require(body is None, "this request takes no body")

    def _check_list(self, _id: str, query: str, _body: Any) -> None:
        filters = json.loads(parse_qs(query).get("filters", ["{}"])[0])
        names = filters.get("name", ())
        # Finds out whether another program's container has the name of a sandbox's.
        one_container = len(names) == 1 and re.fullmatch(CONTAINER_NAME, *names)
        own = f"{INSTANCE_LABEL}={self.instance}" in filters.get("label", ())
        require(own or one_container, "lists must be filtered by the label of the instance")

    def _own(self, kind: str, labels: Callable[[Any], Any], end: str = "") -> Rule:
        """Return a rule that allows objects with the instance's label.

        Requests for an object that doesn't exist are allowed: the engine answers them with 404.
        """

        def rule(name: str, _query: str, _body: Any) -> None:
            if (description := self.inspect(f"/{kind}/{name}{end}")) is not None:
                self._require_label(labels(description))

        return rule

    def _require_label(self, labels: Mapping[str, str] | None) -> None:
        require(
            (labels or {}).get(INSTANCE_LABEL) == self.instance,
            "the object doesn't have the label of this instance",
        )

    def _check_exec(self, name: str, _query: str, body: Any) -> None:
        require_known_keys(body or {}, {"Detach", "Tty"})
        if command := self.inspect(f"/exec/{name}/json"):
            self._own_container(command["ContainerID"], "", None)

    def _check_exec_create(self, name: str, _query: str, body: Any) -> None:
        require_known_keys(body, EXEC_KEYS)
        privileged = body.get("Privileged") or body.get("User")
        require(not privileged, "commands can't set Privileged or User")
        self._own_container(name, "", None)

    def _check_update(self, name: str, _query: str, body: Any) -> None:
        require_known_keys(body, {"NanoCpus"})
        self._own_container(name, "", None)

    def _check_network(self, _id: str, _query: str, body: Any) -> None:
        require_known_keys(body, NETWORK_KEYS)
        self._require_label(body.get("Labels"))
        require(body.get("Driver") == "bridge", "the network driver must be `bridge`")
        options, ipam = body.get("Options") or {}, body.get("IPAM") or {}
        require_known_keys(options, NETWORK_OPTIONS)
        require(
            options.get(BRIDGE_NAME_OPTION, "").startswith("sbx"),
            "the name of the bridge must start with `sbx`",
        )
        require_known_keys(ipam, {"Driver", "Config", "Options"})
        require(ipam.get("Driver") in (None, "default"), "the IPAM driver must be the default")
        for pool in ipam.get("Config") or [{}]:
            require_known_keys(pool, {"Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"})
            subnet = ipaddress.IPv4Network(pool.get("Subnet", "0.0.0.0/0"))
            require(subnet.subnet_of(self.subnets), "the subnet must be in SANDBOX_SUBNETS")

    def _check_container(self, _id: str, _query: str, body: Any) -> None:
        require_known_keys(body, CONTAINER_KEYS)
        host = body.get("HostConfig") or {}
        require_known_keys(host, HOST_KEYS)
        self._require_label(body.get("Labels"))
        for name, value in REQUIRED_HOST_CONFIG.items():
            require(host.get(name) == value, f"{name} must be {json.dumps(value)}")
        require(host.get("IpcMode", "private") == "private", "IpcMode must be private")
        self._check_networking(
            host, body.get("NetworkingConfig") or {}, body["Labels"].get(SANDBOX_LABEL)
        )
        log = host.get("LogConfig") or {}
        require_known_keys(log, {"Type", "Config"})
        require(log.get("Type", "json-file") == "json-file", "the log driver must be json-file")
        limited = host.get("Memory", 0) > 0 and host.get("PidsLimit", 0) > 0
        require(limited or host["NetworkMode"] == "none", "Memory and PidsLimit must be set")

    def _check_networking(self, host: Any, networking: Any, sandbox: str) -> None:
        own = f"{sandbox}_default"
        mode = host.get("NetworkMode")
        require(mode in (own, "none"), "a container can only join the network of its sandbox")
        require_known_keys(networking, {"EndpointsConfig"})
        require_known_keys(networking.get("EndpointsConfig") or {}, {own})
        for binding in chain(*(host.get("PortBindings") or {}).values()):
            require_known_keys(binding, {"HostIp", "HostPort"})
            require(not binding.get("HostPort"), "host ports can't be chosen")
