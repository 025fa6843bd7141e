"""Error messages for blueprints: what is wrong, and how to correct it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from sandboxes.blueprints.compose.findings import sentence

SEE_DOCS = "see docs/blueprints.md for the supported keys"

REMEDIES = {
    "mem_limit": "Write a size, for example 320m.",
    "cpus": "Write a number of CPUs, for example 0.5.",
    "condition": "Write service_started, service_healthy or service_completed_successfully.",
    "stop_grace_period": "Write a duration, for example 10s.",
    "healthcheck": "Write a mapping with the key `test`.",
    "retries": "Write a number.",
    "disable": "Write true or false.",
    "mode": "Write permissions in octal, for example 0440.",
    "environment": "Write a mapping, or a list of NAME=value.",
    "target": "Write a path in the container, for example /data.",
    "source": "Write the name of what is mounted, or a path.",
    "description": "Write a few sentences for developers.",
    "secrets": "Write a name for each, for example {DB_PASSWORD: {}}.",
    "variables": "Write NAME: value for each variable.",
    "credentials": "Write at most 50 names, each with its value.",
    "profiles": "Write a list of names of profiles.",
    "root": "Write a list of names of services.",
    "users": "Write the name of a user for each service, for example {db: postgres}.",
    "line": "Write a regular expression for the beginning of a line.",
    "minimum": "Write an integer.",
    "maximum": "Write an integer.",
    "max_length": "Write a number from 1 to 1000.",
    "help": "Write one or two sentences for the people who choose the value.",
    "openapi": "Write the path of the document, for example /openapi.json.",
    "identity": "Write the path at which the API proves its identity, for example /identity.",
    "body": "Write the body of the request as YAML or JSON.",
    "answer": "Write an excerpt of the response as YAML or JSON.",
    "pids_limit": "Write a number of processes, for example 64.",
    "image": "Write the name of the image, for example example/api.",
    "auth.name": "Write the name of a header, for example X-Api-Key.",
    "name": "Write a name.",
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
    "resources.limits": "Write limits, for example {cpus: '0.5', memory: 256m}.",
    "limits": "Write limits, for example {memory: 1g, lifetime: {default: 30m, max: 2h}}.",
    "lifetime": "Write {default: 30m, max: 2h}, or one of these.",
    "active_per_user": "Write a number of sandboxes, at least 1.",
    "access": "Write open or owner.",
    "engine_selector": "Write labels of engines, for example {disk: ssd}.",
    "egress": "Write true or false.",
    "ulimits": "Write a number for each limit, for example {nofile: 1024}.",
    "length": "Write a number from 22 to 128, so that the secret can't be guessed.",
    "port": "Write the port inside the container; the service must list it under `ports`.",
    "path": "Write the path to request, for example /readyz.",
    "reset": "Name the service that restores the data, and the command.",
    "rekey": "Write a command for each service that stores credentials.",
    "ready": "Name an endpoint and a path that answers 200 when the sandbox is ready.",
    "endpoints": "List the ports that developers see.",
    "seed": "Write the number of seeded objects of each kind, for example {products: 12}.",
    "auth": "Write none, or a type and a credential: {type: bearer, credential: api_key}.",
    "auth.type": "Write none, bearer, header or basic.",
    "volumes.type": "Write volume, bind or tmpfs.",
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
    "list_type": "This must be a list.",
    "tuple_type": "This must be a list.",
    "string_type": "This must be text.",
    "int_parsing": "This must be an integer.",
    "int_type": "This must be an integer.",
    "int_from_float": "This must be an integer.",
    "int_parsing_size": "This number is too large.",
    "float_parsing": "This must be a number.",
    "float_type": "This must be a number.",
    "finite_number": "This must be a number.",
    "bool_parsing": "This must be true or false.",
    "bool_type": "This must be true or false.",
    "greater_than": "This must be greater than {gt}.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than_equal": "This must be at most {le}.",
    "string_too_long": "This has more than {max_length} characters.",
    "string_too_short": "This must not be empty.",
    "string_pattern_mismatch": "This doesn't match the pattern {pattern}",
    "too_short": "This must not be empty.",
    "too_long": "There are more than {max_length} entries.",
    "enum": "This must be one of: {expected}.",
    "literal_error": "This must be one of: {expected}.",
}
"""By pydantic's type of the error, with placeholders for its context."""


def describe_error(error: ErrorDetails | Mapping[str, Any]) -> tuple[str, str]:
    """Return message and remedy for an error of pydantic. Values are never repeated."""
    context = error.get("ctx", {})
    if remedy := context.get("remedy"):
        return str(context["message"]), str(remedy)
    if error["type"] == "extra_forbidden":
        return "This key is not supported.", f"Remove it; {SEE_DOCS}."
    message = ERROR_MESSAGES.get(error["type"], sentence(error["msg"])).format_map(context)
    keys = [part for part in error["loc"] if isinstance(part, str)]
    names = (".".join(keys[-2:]), *keys[-1:])
    remedy = next(
        (REMEDIES[name] for name in names if name in REMEDIES), f"Correct it; {SEE_DOCS}."
    )
    return message, remedy
