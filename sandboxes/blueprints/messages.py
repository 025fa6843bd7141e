"""What a blueprint may not say, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

SEE_DOCS = "docs/blueprints.md lists what is understood"

FORBIDDEN_KEYS = {
    "privileged": "A privileged container is root on the host.",
    "cap_add": "Containers run without any capability.",
    "devices": "Devices of the host are not for sandboxes.",
    "device_cgroup_rules": "Devices of the host are not for sandboxes.",
    "gpus": "Devices of the host are not for sandboxes.",
    "network_mode": "Every sandbox has a network of its own; another one would join it to others.",
    "networks": "Every sandbox has exactly one network, its own.",
    "pid": "Sharing the host's processes, or another container's, breaks the isolation.",
    "ipc": "Sharing the host's memory, or another container's, breaks the isolation.",
    "uts": "Sharing the host's name breaks the isolation.",
    "userns_mode": "Sharing the host's users breaks the isolation.",
    "cgroup": "Sharing the host's control groups breaks the isolation.",
    "cgroup_parent": "Another control group would escape the limits.",
    "sysctls": "Kernel settings are the host's.",
    "runtime": "The container runtime is the operator's choice: SANDBOX_CONTAINER_RUNTIME.",
    "oom_kill_disable": "A container over its memory limit must end.",
    "oom_score_adj": "On a host that is out of memory, sandboxes go first.",
    "memswap_limit": "A sandbox never swaps: its memory limit is all it gets.",
    "extra_hosts": "Names of other hosts are of no use: a sandbox reaches only its own services.",
    "dns": "Which resolver is asked depends on x-sandbox.egress alone.",
    "group_add": "Groups of the host are not for sandboxes.",
    "use_api_socket": "The engine's socket is root on the host.",
}

UNSUPPORTED_KEYS = {
    "volumes": (
        "Volumes escape the disk limit, and folders of the host escape the sandbox.",
        "Remove it: copy files into the image, and keep data in the container's own file system.",
    ),
    "deploy": (
        "Only `mem_limit` and `cpus` are understood as limits.",
        "Move `deploy.resources.limits` to `mem_limit` and `cpus`; remove the rest.",
    ),
    "healthcheck": (
        "Health checks of single services are not run.",
        "Say in `x-sandbox.ready` which path answers 200 when the sandbox is ready.",
    ),
    "env_file": (
        "Files of variables are not read.",
        "List the variables in `environment`; declare secrets in `x-sandbox.secrets`.",
    ),
    "container_name": (
        "Names follow from the sandbox, or a second one could not start.",
        "Remove it; services reach one another by the name of the service.",
    ),
    "hostname": ("A container is called what its service is called.", "Remove it."),
    "expose": ("Services of one sandbox reach all of each other's ports.", "Remove it."),
    "links": ("Services reach one another by name as it is.", "Remove it."),
    "profiles": ("All services of a blueprint are started.", "Remove it."),
    "scale": ("Each service has one container.", "Remove it."),
    "extends": ("A blueprint is one file.", "Write the service out."),
    "include": ("A blueprint is one file.", "Write the services out."),
    "logging": ("Logs are kept by the engine, with a size limit.", "Remove it."),
    "secrets": ("Compose secrets are files of the host.", "Declare it in `x-sandbox.secrets`."),
    "configs": ("Compose configs are files of the host.", "Copy the file into the image."),
    "version": ("Compose has not read it for years.", "Remove it."),
    "memory": ("The memory limit is called `mem_limit`.", "Write `mem_limit`."),
}

REMEDIES = {
    "mem_limit": "Write a size such as 320m.",
    "cpus": "Write a number of CPUs such as 0.5.",
    "pids_limit": "Write a number of processes such as 64.",
    "image": "Write the image's name, for example sandboxportal/billing-api.",
    "name": "Write the name of the blueprint's folder.",
    "services": "Write one entry for each container of the sandbox.",
    "x-sandbox": "Add the part that tells the portal how to present the sandbox.",
    "tmpfs": 'Write paths with their sizes, for example ["/tmp:size=16m"].',
    "url": "Write the endpoint's URL with {host} and {port} in it.",
    "service": "Write the name of a service.",
    "endpoint": "Write the name of an endpoint.",
    "command": "Write the command as a list of words.",
    "value": "Write what developers sign in with, with variables such as ${API_KEY} in it.",
    "title": "Write what developers call it, for example “Billing API”.",
    "read_only": "Write true or false.",
    "egress": "Write true or false.",
    "ulimits": "Write a number for each limit, for example {nofile: 1024}.",
    "length": "Write a number from 22 to 128, so that nobody can guess it.",
    "port": "Write the port inside the container, one that the service lists under `ports`.",
    "path": "Write the path to ask for, for example /readyz.",
    "reset": "Write which service puts the data back, and by which command.",
    "ready": "Write which path of which endpoint answers 200 when the sandbox is ready.",
    "endpoints": "Write which ports developers are told of.",
    "seed": "Write the number of seeded objects of each kind, for example {plans: 5}.",
}

ERROR_MESSAGES = {
    "missing": "This key is missing.",
    "model_type": "This is not a mapping of keys to values.",
    "dict_type": "This is not a mapping of keys to values.",
    "too_short": "This is empty.",
}


def describe_error(error: ErrorDetails | Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong, and what to do, for one of pydantic's errors. Values are never repeated."""
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
