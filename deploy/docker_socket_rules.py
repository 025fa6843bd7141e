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

INSTANCE, SANDBOX = "sandboxportal.instance", "sandboxportal.sandbox"
THING = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
CONTAINER = r"[a-z0-9][a-z0-9_-]{7,}-[a-z0-9_-]+-1"
IMAGE = r"[A-Za-z0-9][A-Za-z0-9_.:@-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:@-]*)*"

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
CLOTHES = {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "Privileged": False}
NETWORK_KEYS = {
    *("Name", "Driver", "Options", "IPAM", "CheckDuplicate", "Labels", "Attachable", "Internal"),
    *("EnableIPv6", "Scope", "Ingress"),
}
BRIDGE = "com.docker.network.bridge.name"
NETWORK_OPTIONS = {BRIDGE, "com.docker.network.bridge.enable_ip_masquerade"}
EXEC_KEYS = {
    *("Container", "User", "Privileged", "Tty", "AttachStdin", "AttachStdout", "AttachStderr"),
    *("Cmd", "Env", "WorkingDir", "DetachKeys"),
}


Rule = Callable[[str, str, Any], None]
"""Takes the object's name, the query and the body."""


class Refused(Exception):
    """It is not let through; the message says why."""


def known(given: Any, keys: set[str]) -> None:
    strange = set(given) - keys
    demand(not strange, f"{', '.join(sorted(strange))} is not known")


def demand(holds: object, why: str) -> None:
    if not holds:
        raise Refused(why)


class Rules:
    """What one instance of the portal may ask of the engine. Each raises Refused."""

    def __init__(self, instance: str, subnets: str, ask: Callable[[str], Any]) -> None:
        self.instance, self.ask = instance, ask
        self.subnets = ipaddress.IPv4Network(subnets)
        self._of_container = self._of("containers", lambda told: told["Config"]["Labels"], "/json")
        self._of_network = self._of("networks", lambda told: told["Labels"])
        self._of_volume = self._of("volumes", lambda told: told["Labels"])
        self.table: list[tuple[str, str, Rule]] = [
            ("GET", r"/(_ping|version|info|networks|images/json)", self._anything),
            ("HEAD", r"/_ping", self._anything),
            ("GET", rf"/images/{IMAGE}/json", self._anything),
            ("GET", r"/(containers/json|volumes)", self._listed),
            ("POST", r"/networks/create", self._network),
            ("POST", r"/containers/create", self._container),
            ("GET", rf"/containers/(?P<id>{THING})/(json|logs|stats)", self._of_container),
            ("POST", rf"/containers/(?P<id>{THING})/start", self._of_container),
            ("POST", rf"/containers/(?P<id>{THING})/update", self._update),
            ("POST", rf"/containers/(?P<id>{THING})/exec", self._exec),
            ("DELETE", rf"/containers/(?P<id>{THING})", self._of_container),
            ("GET", rf"/networks/(?P<id>{THING})", self._of_network),
            ("POST", rf"/networks/(?P<id>{THING})/disconnect", self._of_network),
            ("DELETE", rf"/networks/(?P<id>{THING})", self._of_network),
            ("DELETE", rf"/volumes/(?P<id>{THING})", self._of_volume),
            ("POST", rf"/exec/(?P<id>{THING})/start", self._of_exec),
            ("GET", rf"/exec/(?P<id>{THING})/json", self._of_exec),
        ]

    def check(self, method: str, target: str, body: Any) -> None:
        path, _, query = target.partition("?")
        path = re.sub(r"^/v1\.\d+(?=/)", "", path)
        for verb, pattern, rule in self.table:
            if verb == method and (found := re.fullmatch(pattern, path)):
                rule(found.groupdict().get("id", ""), query, body)
                return
        raise Refused(f"{method} {path} is not among what the portal needs")

    def _anything(self, _id: str, _query: str, body: Any) -> None:
        demand(body is None, "a body is not expected here")

    def _listed(self, _id: str, query: str, _body: Any) -> None:
        filters = json.loads(parse_qs(query).get("filters", ["{}"])[0])
        named = filters.get("name", ())
        # Who has the name of a sandbox's container may be somebody else.
        one = len(named) == 1 and re.fullmatch(CONTAINER, *named)
        mine = f"{INSTANCE}={self.instance}" in filters.get("label", ())
        demand(mine or one, "a list has to ask for the label of the instance")

    def _of(self, kind: str, labels: Callable[[Any], Any], end: str = "") -> Rule:
        """The object bears the instance's label, or is not there: then the engine says so."""

        def rule(name: str, _query: str, _body: Any) -> None:
            if (told := self.ask(f"/{kind}/{name}{end}")) is not None:
                self._demand_label(labels(told))

        return rule

    def _demand_label(self, labels: Mapping[str, str] | None) -> None:
        demand((labels or {}).get(INSTANCE) == self.instance, "it is not of this instance")

    def _of_exec(self, name: str, _query: str, body: Any) -> None:
        known(body or {}, {"Detach", "Tty"})
        if found := self.ask(f"/exec/{name}/json"):
            self._of_container(found["ContainerID"], "", None)

    def _exec(self, name: str, _query: str, body: Any) -> None:
        known(body, EXEC_KEYS)
        demand(not body.get("Privileged") and not body.get("User"), "it asks for privileges")
        self._of_container(name, "", None)

    def _update(self, name: str, _query: str, body: Any) -> None:
        known(body, {"NanoCpus"})
        self._of_container(name, "", None)

    def _network(self, _id: str, _query: str, body: Any) -> None:
        known(body, NETWORK_KEYS)
        self._demand_label(body.get("Labels"))
        demand(body.get("Driver") == "bridge", "its driver is not `bridge`")
        options, ipam = body.get("Options") or {}, body.get("IPAM") or {}
        known(options, NETWORK_OPTIONS)
        demand(options.get(BRIDGE, "").startswith("sbx"), "its bridge is not a sandbox's by name")
        known(ipam, {"Driver", "Config", "Options"})
        demand(ipam.get("Driver") in (None, "default"), "its addresses come from elsewhere")
        for pool in ipam.get("Config") or [{}]:
            known(pool, {"Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"})
            subnet = ipaddress.IPv4Network(pool.get("Subnet", "0.0.0.0/0"))
            demand(subnet.subnet_of(self.subnets), "its subnet is not of SANDBOX_SUBNETS")

    def _container(self, _id: str, _query: str, body: Any) -> None:
        known(body, CONTAINER_KEYS)
        host = body.get("HostConfig") or {}
        known(host, HOST_KEYS)
        self._demand_label(body.get("Labels"))
        demand(
            {name: host.get(name) for name in CLOTHES} == CLOTHES,
            "it is not dressed as it has to be",
        )
        demand(host.get("IpcMode", "private") == "private", "it shares memory")
        self._connections(host, body.get("NetworkingConfig") or {}, body["Labels"].get(SANDBOX))
        log = host.get("LogConfig") or {}
        known(log, {"Type", "Config"})
        demand(log.get("Type", "json-file") == "json-file", "its log goes elsewhere")
        limited = host.get("Memory", 0) > 0 and host.get("PidsLimit", 0) > 0
        demand(limited or host["NetworkMode"] == "none", "it has no limits")

    def _connections(self, host: Any, networking: Any, sandbox: str) -> None:
        own = f"{sandbox}_default"
        demand(host.get("NetworkMode") in (own, "none"), "its network is not its sandbox's")
        known(networking, {"EndpointsConfig"})
        known(networking.get("EndpointsConfig") or {}, {own})
        for binding in chain(*(host.get("PortBindings") or {}).values()):
            known(binding, {"HostIp", "HostPort"})
            demand(not binding.get("HostPort"), "it asks for a certain port")
