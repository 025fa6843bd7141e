"""Error messages for blueprints: what is wrong, and how to correct it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

SEE_DOCS = "see docs/blueprints.md for the supported keys"

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
    "limits": "Write limits, for example {memory: 1g, lifetime: {default: 30m, max: 2h}}.",
    "lifetime": "Write {default: 30m, max: 2h}, or one of these.",
    "active_per_user": "Write a number of sandboxes, at least 1.",
    "access": "Write open or owner.",
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
    "parameters": "Write at most 20 names, each with its type and default.",
    "default": "Write the value of launches that don't choose one.",
    "values": "Write the values to choose from, for example [small, large].",
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
        return "This key is not supported.", f"Remove it; {SEE_DOCS}."
    message = ERROR_MESSAGES.get(error["type"], f"{error['msg']}.")
    return message, REMEDIES.get(keys[-1] if keys else "", f"Correct it; {SEE_DOCS}.")
