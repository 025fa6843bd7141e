"""Which keys of the Compose Specification a blueprint may use: the one table of all verdicts.

Every key of the specification is understood, ignored with a note, or refused. docs/blueprints.md
shows these tables; a test compares them.

https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandboxes.blueprints.compose.findings import Findings
from sandboxes.blueprints.compose.tree import KeyPath, Map, Removed, Replacing, Seq

EXTENSION = "x-"
"""Prefix of keys that Compose leaves to others."""

SEE_DOCS = "see docs/blueprints.md for the supported keys"


class Verdict(StrEnum):
    """What happens to a key."""

    UNDERSTOOD = "understood"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True)
class Key:
    """The verdict on one key, with what readers of the documentation and of errors need."""

    name: str
    verdict: Verdict
    about: str
    """What the key does here, why it has no effect, or why it is refused."""
    remedy: str = "Remove it."
    harmless: Sequence[Any] = ()
    """Values of an ignored key that change nothing, or of a refused one that weaken nothing."""


def understood(name: str, about: str) -> Key:
    """Return a key that a blueprint may use."""
    return Key(name, Verdict.UNDERSTOOD, about)


def ignored(name: str, about: str, *harmless: Any) -> Key:
    """Return a key that has no effect; `harmless` values are what always applies."""
    return Key(name, Verdict.IGNORED, about, harmless=harmless)


def refused(name: str, about: str, *harmless: Any, remedy: str = "Remove it.") -> Key:
    """Return a key that would weaken the confinement unless its value is harmless."""
    return Key(name, Verdict.REFUSED, about, remedy, harmless)


DEVICES = "Sandboxes have no access to devices of the host."
HOST_NAMESPACE = "Sharing a namespace with the host or another container breaks the isolation."
METADATA = "The portal labels its containers itself."
WINDOWS = "Containers run on Linux."
ONE_CONTAINER = "Each service has exactly one container."
REPLACED_TOGETHER = "A sandbox is launched as a whole and never updated."
PREPARED = "Images are built or pulled when an operator prepares the blueprint."
OWN_NETWORK = "Each sandbox has exactly one network of its own."

TOP_LEVEL = (
    understood("services", "Required. One entry for each container of the sandbox."),
    understood("name", "Name of the blueprint; by default, the name of its folder."),
    understood(
        "include",
        "Further Compose files below the folder: `path`, `env_file`, `project_directory`.",
    ),
    understood("volumes", "Named volumes. Each sandbox has its own, initially empty."),
    understood("configs", "Files for services: `file`, `content`, or `environment`."),
    understood(
        "secrets",
        "As `configs`, in memory only. A missing `file` gets a random value in each sandbox.",
    ),
    ignored("networks", OWN_NETWORK),
    ignored("version", "Compose has ignored it for years."),
    refused(
        "models", "Models run outside of containers.", remedy="Add a service that serves the model."
    ),
)

SERVICE = (
    understood("image", "Name of an image, pulled when the blueprint is prepared."),
    understood("build", "Builds the image when the blueprint is prepared; see below."),
    understood("pull_policy", "With `always`, preparing the blueprint looks for a newer image."),
    ignored("pull_refresh_after", PREPARED),
    ignored("platform", "Images are those of the engine's platform."),
    understood("command", "A list, or a string that is split like a shell command."),
    understood("entrypoint", "As `command`."),
    understood(
        "environment",
        "A mapping, or a list of `NAME=value`; a name alone takes the value of that variable.",
    ),
    understood("env_file", "Files below the folder: a path, or `path`, `required` and `format`."),
    understood("working_dir", "As in Compose."),
    understood(
        "user", "A user of the image other than root, unless `x-sandbox.root` names the service."
    ),
    understood(
        "ports",
        "TCP ports in any form. Each is published on a free port of `SANDBOX_BIND_ADDRESS`; a host "
        "port has no effect.",
    ),
    ignored("expose", "Services of a sandbox reach all ports of each other anyway."),
    understood("depends_on", "A list, or a mapping with all three conditions and `required`."),
    understood(
        "healthcheck",
        "The `test`, and how long it may take (`timeout`). It decides when a service is "
        "healthy while the sandbox starts; the other times are the portal's own.",
    ),
    understood(
        "volumes",
        "Named and anonymous volumes, and binds below the folder; see [below](#data-and-files).",
    ),
    understood("volumes_from", "The volumes of another service."),
    understood("tmpfs", "`/tmp:size=16m`; 16 MB by default. Counts as memory."),
    understood("shm_size", "The size of `/dev/shm`. Counts as memory."),
    understood("configs", "Names of configs, or `source`, `target` and `mode`."),
    understood(
        "secrets",
        "Names of secrets, or `source`, `target` and `mode`; below `/run/secrets` by default.",
    ),
    understood("networks", "All become the sandbox's one network; `aliases` are kept."),
    understood("links", "The alias of a link becomes a name of the service."),
    understood("hostname", "Host name of the container."),
    understood(
        "container_name", "Becomes a further name of the service, since many sandboxes run at once."
    ),
    understood("extends", "A service of this file or of another one below the folder."),
    understood(
        "profiles", "The service is started only if `x-sandbox.profiles` names one of its profiles."
    ),
    understood(
        "mem_limit",
        "`320m`, `1g` or bytes; without it, the service gets a share of the sandbox's memory. "
        "Swap isn't available.",
    ),
    understood(
        "cpus",
        "A number such as `0.5`; without it, the service gets a share of the sandbox's CPUs.",
    ),
    understood("pids_limit", "Maximum number of processes; 128 by default, at most 1024."),
    understood("deploy", "`resources.limits`; see below."),
    understood(
        "ulimits",
        "One number, or `soft` and `hard`. `nofile` is 4096 by default, at most 65536; `fsize`, "
        "`core` and the limits of priorities are the portal's own.",
    ),
    understood(
        "read_only", "Makes the root file system read-only, unless the service has data in it."
    ),
    understood("stop_signal", "As in Compose."),
    understood("stop_grace_period", "Time between the stop signal and the kill."),
    ignored("init", "Every container has an init process.", True),
    ignored(
        "restart",
        "A service that stops ends its sandbox, with the reason. One that others wait for to "
        "complete may exit with 0.",
        "no",
        False,
    ),
    ignored("cap_drop", "Containers run without any capability.", "ALL", "all"),
    refused(
        "cap_add",
        "Containers run without any capability.",
        "NET_BIND_SERVICE",
        "CAP_NET_BIND_SERVICE",
        remedy="Remove it. If the image has to start as root, name the service in x-sandbox.root.",
    ),
    refused("privileged", "A privileged container is root on the host.", False),
    refused(
        "security_opt",
        "The engine's default profiles always apply.",
        "no-new-privileges",
        "no-new-privileges:true",
        "no-new-privileges=true",
        remedy="Remove it, or write no-new-privileges:true, which always applies.",
    ),
    refused("devices", DEVICES),
    refused("device_cgroup_rules", DEVICES),
    refused("gpus", DEVICES),
    refused(
        "network_mode",
        "Each sandbox has its own network; another one would connect sandboxes.",
        "bridge",
        "none",
        "default",
        remedy="Remove it; services reach each other by name.",
    ),
    refused("pid", HOST_NAMESPACE),
    refused("ipc", HOST_NAMESPACE, "private", "shareable", "none"),
    refused("uts", HOST_NAMESPACE),
    refused("userns_mode", HOST_NAMESPACE),
    refused("cgroup", HOST_NAMESPACE, "private"),
    refused("cgroup_parent", "Another control group would escape the limits."),
    refused("sysctls", "Kernel settings belong to the host."),
    refused(
        "runtime", "Operators choose the container runtime with SANDBOX_CONTAINER_RUNTIME.", "runc"
    ),
    refused("oom_kill_disable", "A container that exceeds its memory limit must be killed.", False),
    refused("use_api_socket", "Access to the engine's socket is root access to the host.", False),
    refused(
        "group_add",
        "Groups are those of the image; others could be groups of the host.",
        remedy="Remove it, and add the user to the group in the image.",
    ),
    refused(
        "external_links",
        "A sandbox reaches only its own services.",
        remedy="Add the other service to this file.",
    ),
    refused(
        "provider",
        "Other programs would create the service on the host.",
        remedy="Describe the service by an image.",
    ),
    refused(
        "models", "Models run outside of containers.", remedy="Add a service that serves the model."
    ),
    refused("credential_spec", "Credentials of the host are not for sandboxes."),
    refused(
        "post_start",
        "Hooks may run as root.",
        remedy="Run the commands in a service of their own, for which others wait until it "
        "completes successfully.",
    ),
    ignored("pre_stop", "A sandbox is removed with its data."),
    ignored("oom_score_adj", "When the host runs out of memory, sandboxes are stopped first."),
    ignored("memswap_limit", "Sandboxes never swap."),
    ignored("mem_swappiness", "Sandboxes never swap."),
    ignored("mem_reservation", "Only limits apply."),
    ignored("cpu_shares", "Only `cpus` applies."),
    ignored("cpu_quota", "Only `cpus` applies."),
    ignored("cpu_period", "Only `cpus` applies."),
    ignored("cpu_count", WINDOWS),
    ignored("cpu_percent", WINDOWS),
    ignored("cpu_rt_period", "Only `cpus` applies."),
    ignored("cpu_rt_runtime", "Only `cpus` applies."),
    ignored("cpuset", "Only `cpus` applies."),
    ignored("blkio_config", "The portal's own disk limits apply."),
    ignored("storage_opt", "The portal's own disk limits apply."),
    ignored("extra_hosts", "A sandbox reaches only its own services."),
    ignored("dns", "`x-sandbox.egress` alone determines the DNS resolver."),
    ignored("dns_opt", "`x-sandbox.egress` alone determines the DNS resolver."),
    ignored("dns_search", "`x-sandbox.egress` alone determines the DNS resolver."),
    ignored("domainname", "Services reach each other by name."),
    ignored("mac_address", OWN_NETWORK),
    ignored("isolation", WINDOWS),
    ignored("labels", METADATA),
    ignored("label_file", METADATA),
    ignored("annotations", METADATA),
    ignored("logging", "The engine stores logs, with a size limit."),
    ignored(
        "attach",
        "Services have no terminal.",
    ),
    ignored("stdin_open", "Services have no terminal.", False),
    ignored("tty", "Services have no terminal.", False),
    ignored("scale", ONE_CONTAINER, 1),
    ignored("develop", "A sandbox runs what was prepared."),
)

BUILD = (
    understood("context", "A folder, relative to the file and below the blueprint's folder."),
    understood("dockerfile", "Relative to the context."),
    understood("dockerfile_inline", "The text of a Dockerfile."),
    understood("args", "A mapping, or a list of `NAME=value`."),
    understood("target", "The stage to build."),
    refused("network", "A build must not use the host's network.", "default", "none"),
    refused(
        "ssh",
        "Keys of the host are not for blueprints.",
        remedy="Copy what the build needs into its context.",
    ),
    refused(
        "secrets",
        "Secrets of the host are not for blueprints.",
        remedy="Copy what the build needs into its context.",
    ),
    refused("privileged", "A privileged build is root on the host.", False),
    refused("entitlements", "A build gets no further privileges."),
    refused(
        "additional_contexts",
        "Only files of the context are used.",
        remedy="Copy them into the context.",
    ),
    refused("extra_hosts", "A build must not be led to other hosts."),
    ignored("labels", METADATA),
    ignored("tags", "The portal names the images that it prepares itself."),
    ignored("cache_from", "The engine's own cache is used."),
    ignored("cache_to", "The engine's own cache is used."),
    ignored("no_cache", "The engine's own cache is used.", False),
    ignored("pull", PREPARED),
    ignored("platforms", "Images are those of the engine's platform."),
    ignored("provenance", "Images stay on the engine."),
    ignored("sbom", "Images stay on the engine."),
    ignored("isolation", WINDOWS),
    ignored("shm_size", "The engine's own limits apply to builds."),
    ignored("ulimits", "The engine's own limits apply to builds."),
)

DEPLOY = (
    understood(
        "resources",
        "`limits` with `cpus`, `memory` and `pids`, at most the sandbox's own, where "
        "`mem_limit`, `cpus` and "
        "`pids_limit` are missing. Of `reservations`, `devices` are refused and the others "
        "have no effect.",
    ),
    ignored("mode", ONE_CONTAINER, "replicated"),
    ignored("replicas", ONE_CONTAINER, 1),
    ignored("endpoint_mode", OWN_NETWORK),
    ignored("labels", METADATA),
    ignored("placement", "A sandbox runs on one engine."),
    ignored("restart_policy", "A service that stops ends its sandbox, with the reason."),
    ignored("update_config", REPLACED_TOGETHER),
    ignored("rollback_config", REPLACED_TOGETHER),
)

VOLUME = (
    ignored("name", "Each sandbox has its own volumes."),
    ignored("external", "Each sandbox has its own volumes, initially empty.", False),
    ignored("labels", METADATA),
    refused(
        "driver",
        "Volumes are stored on the engine, where the disk limit applies.",
        "local",
        "",
        None,
    ),
    refused(
        "driver_opts",
        "Options could mount folders of the host or of other machines.",
        {},
        None,
        remedy="Remove them, or mount a folder below the blueprint's.",
    ),
)

TABLES: Mapping[str, Sequence[Key]] = {
    "Top level": TOP_LEVEL,
    "Services": SERVICE,
    "`build`": BUILD,
    "`deploy`": DEPLOY,
    "Volumes": VOLUME,
}


def _by_name(keys: Sequence[Key]) -> Mapping[str, Key]:
    return {key.name: key for key in keys}


_TOP_LEVEL, _SERVICE, _BUILD, _DEPLOY, _VOLUME = map(_by_name, TABLES.values())


def has_effect(path: KeyPath) -> bool:
    """Return whether the key at a path of a Compose file is known and not ignored."""
    return all(
        own in keys and keys[own].verdict is not Verdict.IGNORED for keys, own in _tables(path)
    )


def _tables(path: KeyPath) -> Iterator[tuple[Mapping[str, Key], str]]:
    """Yield the table in which the key at a path is, with its name there; or nothing."""
    match [str(part) for part in path]:
        case [name]:
            yield _TOP_LEVEL, name
        case ["services", _, name]:
            yield _SERVICE, name
        case ["services", _, "build", name]:
            yield _BUILD, name
        case ["services", _, "deploy", name]:
            yield _DEPLOY, name
        case ["volumes", _, name]:
            yield _VOLUME, name


def judge(tree: Map, path: KeyPath, findings: Findings) -> Map:
    """Return a mapping without the keys that have no effect, and report these and unknown ones.

    `path` is that of the mapping. Refused keys are kept until all files are merged, since another
    file may remove them.
    """
    kept = Map(tree.place)
    for name, value, place in tree.entries():
        if name.startswith(EXTENSION):
            kept.put(name, value, place)
            continue
        own = (*path, name)
        key = next((keys.get(last) for keys, last in _tables(own)), None)
        if key is None:
            message = "This key is not part of the Compose Specification."
            findings.problem(place, own, message, f"Correct or remove it; {SEE_DOCS}.")
        elif key.verdict is Verdict.IGNORED:
            if not _is_harmless(value, key):
                findings.note(place, own, f"This has no effect. {key.about}")
        else:
            kept.put(name, value, place)
    return kept


def refuse(tree: Map, path: KeyPath, findings: Findings, granted: Sequence[str] = ()) -> Map:
    """Return a mapping without its refused keys, and report them.

    `granted` are capabilities that the service has anyway.
    """
    kept = Map(tree.place)
    for name, value, place in tree.entries():
        own = (*path, name)
        key = next((keys.get(last) for keys, last in _tables(own)), None)
        if key is None or key.verdict is not Verdict.REFUSED:
            kept.put(name, value, place)
        elif not _is_harmless(value, key, granted if name == "cap_add" else ()):
            message = f"This would weaken the confinement. {key.about}"
            findings.problem(place, own, message, key.remedy)
    return kept


def _is_harmless(value: Any, key: Key, granted: Sequence[str] = ()) -> bool:
    if isinstance(value, Replacing):
        value = value.value
    if isinstance(value, Removed) or value is None:
        return True
    allowed = [*key.harmless, *granted]
    values = value if isinstance(value, Seq) else [value]
    return all(_text(one) in map(_text, allowed) for one in values)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def markdown() -> str:
    """Return the tables of docs/blueprints.md."""
    parts = []
    for title, keys in TABLES.items():
        parts += [
            f"#### {title}",
            "",
            "| key | verdict | what it does, or why not |",
            "|---|---|---|",
        ]
        parts += [
            f"| `{key.name}` | {key.verdict} | {key.about}{_exceptions(key)} |" for key in keys
        ]
        parts.append("")
    return "\n".join(parts)


def _exceptions(key: Key) -> str:
    shown = [f"`{_text(value)}`" for value in key.harmless if value not in (None, "", {})]
    if not shown or key.verdict is not Verdict.REFUSED:
        return ""
    return f" Allowed: {', '.join(shown)}."
