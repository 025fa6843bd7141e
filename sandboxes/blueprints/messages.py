"""Error messages for blueprints: what is wrong, and how to correct it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

SEE_DOCS = "see docs/blueprints.md for the supported keys"

FORBIDDEN_KEYS = {
    "privileged": "A privileged container is root on the host.",
    "cap_add": "Containers run without any capability.",
    "devices": "Sandboxes have no access to devices of the host.",
    "device_cgroup_rules": "Sandboxes have no access to devices of the host.",
    "gpus": "Sandboxes have no access to devices of the host.",
    "network_mode": "Each sandbox has its own network; another one would connect sandboxes.",
    "networks": "Each sandbox has exactly one network of its own.",
    "pid": "Sharing processes with the host or another container breaks the isolation.",
    "ipc": "Sharing memory with the host or another container breaks the isolation.",
    "uts": "Sharing the host name breaks the isolation.",
    "userns_mode": "Sharing the host's users breaks the isolation.",
    "cgroup": "Sharing the host's control groups breaks the isolation.",
    "cgroup_parent": "Another control group would escape the limits.",
    "sysctls": "Kernel settings belong to the host.",
    "runtime": "Operators choose the container runtime with SANDBOX_CONTAINER_RUNTIME.",
    "oom_kill_disable": "A container that exceeds its memory limit must be killed.",
    "oom_score_adj": "When the host runs out of memory, sandboxes are killed first.",
    "memswap_limit": "Sandboxes never swap; the memory limit is all they get.",
    "extra_hosts": "Other host names are useless: a sandbox reaches only its own services.",
    "dns": "x-sandbox.egress alone determines the DNS resolver.",
    "group_add": "Sandboxes can't use groups of the host.",
    "use_api_socket": "Access to the engine's socket is root access to the host.",
}

UNSUPPORTED_KEYS = {
    "volumes": (
        "Volumes bypass the disk limit, and host folders bypass the isolation.",
        "Remove it. Copy files into the image, and keep data in the container's own file system.",
    ),
    "deploy": (
        "Only `mem_limit` and `cpus` are supported as limits.",
        "Move `deploy.resources.limits` to `mem_limit` and `cpus`, and remove the rest.",
    ),
    "healthcheck": (
        "Health checks of services are not run.",
        "Name a path in `x-sandbox.ready` that answers 200 when the sandbox is ready.",
    ),
    "env_file": (
        "Environment files are not read.",
        "List the variables in `environment`, and declare secrets in `x-sandbox.secrets`.",
    ),
    "container_name": (
        "With a fixed container name, a second sandbox couldn't start.",
        "Remove it; services reach each other by service name.",
    ),
    "hostname": ("The host name of a container is the name of its service.", "Remove it."),
    "expose": ("Services of a sandbox reach all ports of each other anyway.", "Remove it."),
    "links": ("Services reach each other by name anyway.", "Remove it."),
    "profiles": ("All services of a blueprint are started.", "Remove it."),
    "scale": ("Each service has exactly one container.", "Remove it."),
    "extends": ("A blueprint is a single file.", "Write out the service in full."),
    "include": ("A blueprint is a single file.", "Write out the services in full."),
    "logging": ("The engine stores logs, with a size limit.", "Remove it."),
    "secrets": ("Compose secrets are files on the host.", "Declare it in `x-sandbox.secrets`."),
    "configs": ("Compose configs are files on the host.", "Copy the file into the image."),
    "version": ("Compose has ignored it for years.", "Remove it."),
    "memory": ("The memory limit is named `mem_limit`.", "Write `mem_limit`."),
}

REMEDIES = {
    "mem_limit": "Write a size, for example 320m.",
    "cpus": "Write a number of CPUs, for example 0.5.",
    "pids_limit": "Write a number of processes, for example 64.",
    "image": "Write the name of the image, for example example/api.",
    "name": "Write the name of the blueprint's folder.",
    "services": "Write one entry for each container of the sandbox.",
    "x-sandbox": "Add the section that tells the portal how to present the sandbox.",
    "tmpfs": 'Write paths with their sizes, for example ["/tmp:size=16m"].',
    "url": "Write the URL of the endpoint, with {host} and {port} in it.",
    "service": "Write the name of a service.",
    "endpoint": "Write the name of an endpoint.",
    "command": "Write the command as a list of words.",
    "value": "Write the credential, with variables such as ${API_KEY} in it.",
    "title": "Write the name that developers see, for example “Orders API”.",
    "read_only": "Write true or false.",
    "egress": "Write true or false.",
    "ulimits": "Write a number for each limit, for example {nofile: 1024}.",
    "length": "Write a number from 22 to 128, so that the secret can't be guessed.",
    "port": "Write the port inside the container; the service must list it under `ports`.",
    "path": "Write the path to request, for example /readyz.",
    "reset": "Name the service that restores the data, and the command.",
    "ready": "Name an endpoint and a path that answers 200 when the sandbox is ready.",
    "endpoints": "List the ports that developers see.",
    "seed": "Write the number of seeded objects of each kind, for example {products: 12}.",
    "auth": "Write none, or a type and a credential: {type: bearer, credential: api_key}.",
    "type": "Write none, bearer, header or basic.",
    "method": "Write GET, POST, PUT, PATCH or DELETE.",
    "first_call": "Write the path of a request, for example {path: /v1/products}.",
    "stellar": "Write true or false.",
}

ERROR_MESSAGES = {
    "missing": "This key is missing.",
    "model_type": "This must be a mapping of keys to values.",
    "dict_type": "This must be a mapping of keys to values.",
    "too_short": "This must not be empty.",
}


def describe_error(error: ErrorDetails | Mapping[str, Any]) -> tuple[str, str]:
    """Return message and remedy for an error of pydantic. Values are never repeated."""
    keys = [str(part) for part in error["loc"]]
    if remedy := error.get("ctx", {}).get("remedy"):
        return str(error["ctx"]["message"]), str(remedy)
    if error["type"] == "extra_forbidden":
        return _describe_unknown_key(keys[-1])
    message = ERROR_MESSAGES.get(error["type"], f"{error['msg']}.")
    return message, REMEDIES.get(keys[-1] if keys else "", f"Correct it; {SEE_DOCS}.")


def _describe_unknown_key(key: str) -> tuple[str, str]:
    if key in FORBIDDEN_KEYS:
        return f"This would weaken the confinement. {FORBIDDEN_KEYS[key]}", "Remove it."
    if key in UNSUPPORTED_KEYS:
        return UNSUPPORTED_KEYS[key]
    return "This key is not supported.", f"Remove it; {SEE_DOCS}."
