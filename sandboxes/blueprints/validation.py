"""Validate the parts of a blueprint against each other and against the portal's limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path

from sandboxes.blueprints import limits, process_validation
from sandboxes.blueprints.auth import AuthType
from sandboxes.blueprints.blueprint import (
    HTTP_SCHEMES,
    host_label,
    url_variable_name,
    variable_name,
)
from sandboxes.blueprints.compose.findings import listed, shortened
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.interpolation import (
    BUILT_IN_VARIABLES,
    STELLAR_VARIABLES,
    variable_names,
)
from sandboxes.blueprints.parameters import InvalidValue, ParameterType
from sandboxes.blueprints.sandbox_section import Endpoint, Parameter, Ready
from sandboxes.blueprints.section_context import SectionContext, Violation

RESERVED_NAMES = BUILT_IN_VARIABLES | STELLAR_VARIABLES
STELLAR_NAMES = frozenset({"STELLAR_SECRET", "stellar_secret"})
"""Names of the secret and the credential that `stellar: true` adds."""
AUTH_DETAILS = {
    AuthType.NONE: (),
    AuthType.BEARER: ("credential",),
    AuthType.HEADER: ("name", "credential"),
    AuthType.BASIC: ("username", "credential"),
}
"""The keys that each type of authentication needs; the others have no meaning for it."""
PARAMETER_DETAILS: Mapping[ParameterType, Set[str]] = {
    ParameterType.ENUM: {"values"},
    ParameterType.BOOLEAN: set(),
    ParameterType.INTEGER: {"minimum", "maximum"},
    ParameterType.STRING: {"pattern", "max_length"},
}
"""The keys that only some types of parameters have."""

EVENT_PLACEHOLDERS = {"cursor", "limit", "wait"}
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def validate(parsed: SectionContext, files: SourceFiles, folder: Path) -> Iterator[Violation]:
    """Yield all contradictions in a section whose single keys and values are valid."""
    yield from _check_variables(parsed)
    yield from _check_parameters(parsed)
    yield from _check_endpoints(parsed)
    yield from _check_credentials(parsed)
    yield from _check_variable_names(parsed)
    yield from _check_references(parsed)
    yield from _check_limits(parsed)
    yield from process_validation.validate(parsed, files, folder)


def _check_variables(parsed: SectionContext) -> Iterator[Violation]:
    secrets = set(parsed.sandbox.secrets)
    built_in, reserved = BUILT_IN_VARIABLES, RESERVED_NAMES
    if parsed.sandbox.stellar:
        built_in, reserved = built_in | STELLAR_VARIABLES, reserved | STELLAR_NAMES
    for section, names in (
        ("secrets", secrets),
        ("credentials", set(parsed.sandbox.credentials)),
        ("parameters", set(parsed.sandbox.parameters)),
    ):
        for name in sorted(names & reserved):
            yield (
                f"x-sandbox.{section}.{name}",
                "This name is reserved for the portal.",
                "Choose another name.",
            )
    for key, text in _interpolated_texts(parsed):
        yield from _unknown_variables(key, text, secrets | built_in | {*parsed.sandbox.parameters})
    for name, credential in parsed.sandbox.credentials.items():
        yield from _unknown_variables(
            f"x-sandbox.credentials.{name}.value", credential.value, secrets
        )
    for key, command in _commands(parsed):
        for index, word in enumerate(command):
            if any(variable_names(word)):
                yield (
                    f"{key}.command.{index}",
                    "Variables can't be used here.",
                    "Add the variable to the environment of the service, and read it in a script.",
                )


def _check_parameters(parsed: SectionContext) -> Iterator[Violation]:
    section = parsed.sandbox
    for name, item in section.parameters.items():
        key = f"x-sandbox.parameters.{name}"
        for other, names in (("secrets", section.secrets), ("variables", section.variables)):
            if name in names:
                message = f"x-sandbox.{other} has a variable of this name."
                yield key, message, "Choose another name."
        details = set[str]().union(*PARAMETER_DETAILS.values()) - PARAMETER_DETAILS[item.type]
        for detail in sorted(item.model_fields_set & details):
            message = f"A parameter of the type {item.type} doesn't have this key."
            yield f"{key}.{detail}", message, "Remove it, or choose another type."
        if item.type == ParameterType.ENUM and not item.values:
            message = "A parameter of the type enum needs the values to choose from."
            yield f"{key}.values", message, "Add `values`, or choose another type."
        elif len(set(item.values)) < len(item.values):
            yield f"{key}.values", "A value is listed twice.", "List each value once."
        elif item.minimum > item.maximum:
            yield f"{key}.minimum", "The minimum is above the maximum.", "Correct one of them."
        else:
            yield from _check_default(key, name, item)


def _check_default(key: str, name: str, item: Parameter) -> Iterator[Violation]:
    try:
        item.definition(name).check(item.default)
    except InvalidValue as error:
        message = "The parameter doesn't take its own default."
        yield f"{key}.default", message, f"Correct one of them. The default: {error}"


def _commands(parsed: SectionContext) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the commands that are run in services, with the keys in which they are."""
    if reset := parsed.sandbox.reset:
        yield "x-sandbox.reset", reset.command
    for name, rekey in parsed.sandbox.rekey.items():
        yield f"x-sandbox.rekey.{name}", rekey.command
    for index, check in enumerate(parsed.sandbox.ready):
        yield f"x-sandbox.ready.{index}", check.command


def _interpolated_texts(parsed: SectionContext) -> Iterator[tuple[str, str]]:
    """Yield every text in which variables are filled in at launch, with its key."""
    for name, process in parsed.sandbox.process.items():
        for variable, text in process.environment.items():
            yield f"x-sandbox.process.{name}.environment.{variable}", text


def _unknown_variables(key: str, text: str, known: Iterable[str]) -> Iterator[Violation]:
    for variable in dict.fromkeys(variable_names(text)):
        if not variable:
            yield (
                key,
                "A dollar sign is not followed by a variable.",
                "Write ${NAME} for a variable, and $$ for a dollar sign.",
            )
        elif variable not in known:
            yield (
                key,
                f"Unknown variable {shortened(variable)}.",
                f"Declare it in x-sandbox.secrets, or use one of these: {listed(sorted(known))}.",
            )


def _check_service(key: str, name: str, parsed: SectionContext) -> Iterator[Violation]:
    if name not in parsed.services:
        known = listed(parsed.services)
        yield key, f"Unknown service {shortened(name)}.", f"Name one of the services: {known}."


def _check_running_service(key: str, name: str, parsed: SectionContext) -> Iterator[Violation]:
    yield from _check_service(key, name, parsed)
    if name in parsed.one_shot:
        message = f"The service {shortened(name)} has ended when the sandbox is ready."
        yield key, message, "Name a service for whose completion no other waits."


def _check_endpoints(parsed: SectionContext) -> Iterator[Violation]:
    first: dict[str, str] = {}
    for name, endpoint in parsed.sandbox.endpoints.items():
        key = f"x-sandbox.endpoints.{name}"
        if (other := first.setdefault(host_label(name), name)) != name:
            message = f"The host name of the endpoint {name} is the one of {other}."
            yield key, message, "Choose names that differ in more than case, _ and -."
        yield from _check_running_service(f"{key}.service", endpoint.service, parsed)
        yield from _check_placeholders(f"{key}.url", endpoint.url)
        if any(variable_names(endpoint.url)):
            message = "Variables can't be used here: URLs are not secret."
            yield f"{key}.url", message, "Declare it as a credential in x-sandbox.credentials."
        yield from _check_auth(key, endpoint, parsed)


def _check_auth(key: str, endpoint: Endpoint, parsed: SectionContext) -> Iterator[Violation]:
    auth = endpoint.auth
    if endpoint.bearer and "auth" in endpoint.model_fields_set:
        message = "`bearer` is short for `auth`, which is there as well."
        yield f"{key}.bearer", message, "Remove one of them."
    yield from _check_credential(f"{key}.bearer", endpoint.bearer, parsed)
    yield from _check_credential(f"{key}.auth.credential", auth.credential, parsed)
    needed = AUTH_DETAILS[auth.type]
    for name in ("name", "username", "credential"):
        if name in needed and not getattr(auth, name):
            message = f"Authentication of the type {auth.type} needs this key."
            yield f"{key}.auth.{name}", message, f"Add `{name}`, or choose another type."
        elif name not in needed and getattr(auth, name):
            message = f"Authentication of the type {auth.type} doesn't have this key."
            yield f"{key}.auth.{name}", message, "Remove it, or choose another type."
    if endpoint.identity and not (endpoint.bearer or auth.credential):
        message = "The endpoint has no credential that its API could prove to know."
        yield f"{key}.identity", message, "Name it with `auth`, or remove `identity`."


def _check_credential(key: str, name: str, parsed: SectionContext) -> Iterator[Violation]:
    if name and name not in parsed.sandbox.credentials:
        known = listed(parsed.sandbox.credentials)
        yield (
            key,
            f"Unknown credential {shortened(name)}.",
            f"Name one of the credentials: {known}.",
        )


def _check_placeholders(key: str, text: str) -> Iterator[Violation]:
    for name in dict.fromkeys(PLACEHOLDER.findall(text.replace("${", ""))):
        if name not in ("host", "port"):
            message = f"Unknown placeholder {{{shortened(name)}}}."
            yield key, message, "Use only {host} and {port}."


def _check_credentials(parsed: SectionContext) -> Iterator[Violation]:
    for name, credential in parsed.sandbox.credentials.items():
        key = f"x-sandbox.credentials.{name}"
        if credential.endpoint:
            yield from _check_endpoint(f"{key}.endpoint", credential.endpoint, parsed)
            yield from _check_placeholders(f"{key}.value", credential.value)
        elif "{host}" in credential.value or "{port}" in credential.value:
            yield (
                f"{key}.value",
                "The value contains an address, but names no endpoint.",
                "Add the key `endpoint`.",
            )


def _check_variable_names(parsed: SectionContext) -> Iterator[Violation]:
    """Names of endpoints and credentials must stay different in `.env` files."""
    endpoints, credentials = parsed.sandbox.endpoints, parsed.sandbox.credentials
    owners = {"STELLAR_PUBLIC_KEY": "the account"} if parsed.sandbox.stellar else {}
    for name in {host_label(name): name for name in endpoints}.values():
        yield from _take(owners, url_variable_name(name), f"endpoints.{name}")
    for name, credential in credentials.items():
        variable = variable_name(name)
        if owners.get(variable) == f"endpoints.{credential.endpoint}":
            del owners[variable]  # A URL with credentials takes the place of the one without.
        yield from _take(owners, variable, f"credentials.{name}")


def _take(owners: dict[str, str], variable: str, owner: str) -> Iterator[Violation]:
    if (other := owners.setdefault(variable, owner)) != owner:
        message = f"In `.env` files, this would be {variable}, like {other}."
        yield f"x-sandbox.{owner}", message, "Choose another name."


def _check_endpoint(key: str, name: str, parsed: SectionContext) -> Iterator[Violation]:
    if name not in parsed.sandbox.endpoints:
        known = listed(parsed.sandbox.endpoints)
        yield key, f"Unknown endpoint {shortened(name)}.", f"Name one of the endpoints: {known}."


def _check_first_call(parsed: SectionContext) -> Iterator[Violation]:
    if not (call := parsed.sandbox.first_call):
        return
    endpoints = parsed.sandbox.endpoints
    if call.endpoint:
        yield from _check_endpoint("x-sandbox.first_call.endpoint", call.endpoint, parsed)
    chosen = [endpoints.get(call.endpoint)] if call.endpoint else endpoints.values()
    if not any(one is None or one.url.startswith(HTTP_SCHEMES) for one in chosen):
        yield (
            "x-sandbox.first_call.endpoint",
            "A first call needs an endpoint with an http or https URL.",
            "Name such an endpoint, or remove `first_call`.",
        )


def _check_references(parsed: SectionContext) -> Iterator[Violation]:
    yield from _check_first_call(parsed)
    for index, check in enumerate(parsed.sandbox.ready):
        yield from _check_ready(f"x-sandbox.ready.{index}", check, parsed)
    if reset := parsed.sandbox.reset:
        yield from _check_running_service("x-sandbox.reset.service", reset.service, parsed)
    for name in parsed.sandbox.rekey:
        yield from _check_running_service(f"x-sandbox.rekey.{name}", name, parsed)
    if requests := parsed.sandbox.requests:
        yield from _check_service("x-sandbox.requests.service", requests.service, parsed)
        if log := requests.log:
            yield from _check_web_endpoint("x-sandbox.requests.log.endpoint", log.endpoint, parsed)
            yield from _check_secret("x-sandbox.requests.log.secret", log.secret, parsed)
    yield from _check_events(parsed)
    yield from _check_transfers(parsed)
    if clock := parsed.sandbox.clock:
        yield from _check_web_endpoint("x-sandbox.clock.endpoint", clock.endpoint, parsed)
    for index, name in enumerate(parsed.sandbox.root):
        yield from _check_service(f"x-sandbox.root.{index}", name, parsed)
    for name in parsed.sandbox.users:
        yield from _check_service(f"x-sandbox.users.{name}", name, parsed)


def _check_transfers(parsed: SectionContext) -> Iterator[Violation]:
    if not (transfers := parsed.sandbox.transfers):
        return
    key = "x-sandbox.transfers"
    yield from _check_web_endpoint(f"{key}.endpoint", transfers.endpoint, parsed)
    yield from _check_secret(f"{key}.secret", transfers.secret, parsed)
    if not parsed.sandbox.stellar:
        yield key, "The sandboxes have no account.", "Add `stellar: true`."


def _check_events(parsed: SectionContext) -> Iterator[Violation]:
    if not (events := parsed.sandbox.events):
        return
    yield from _check_web_endpoint("x-sandbox.events.endpoint", events.endpoint, parsed)
    yield from _check_secret("x-sandbox.events.secret", events.secret, parsed)
    for match in PLACEHOLDER.finditer(events.list):
        if match[1] not in EVENT_PLACEHOLDERS:
            message = f"Unknown placeholder {match[0]}."
            yield "x-sandbox.events.list", message, "Use {cursor}, {limit} and {wait}."
    if "{cursor}" not in events.list:
        message = "The path doesn't say after which event the list begins."
        yield "x-sandbox.events.list", message, "Add {cursor}, for example ?after={cursor}."


def _check_secret(key: str, name: str, parsed: SectionContext) -> Iterator[Violation]:
    if name not in parsed.sandbox.secrets:
        known = listed(parsed.sandbox.secrets)
        yield key, f"Unknown secret {shortened(name)}.", f"Name one of the secrets: {known}."


def _check_web_endpoint(key: str, name: str, parsed: SectionContext) -> Iterator[Violation]:
    yield from _check_endpoint(key, name, parsed)
    found = parsed.sandbox.endpoints.get(name)
    if found and not found.url.startswith(HTTP_SCHEMES):
        message = f"The endpoint {name} has no http or https URL."
        yield key, message, "Name an endpoint of a web server."


def _check_limits(parsed: SectionContext) -> Iterator[Violation]:
    stated = parsed.sandbox.limits
    sizes = limits.Limits(memory_mb=stated.memory, cpus=stated.cpus, disk_mb=stated.disk)
    for excess in limits.sizes_above(sizes):
        yield f"x-sandbox.limits.{excess.size.key}", str(excess), excess.remedy
    default, most = stated.lifetime.default, stated.lifetime.max
    if default and most and default > most:
        message = f"The default, {default} minutes, is longer than the maximum, {most} minutes."
        yield "x-sandbox.limits.lifetime.default", message, "Lower it, or raise `max`."


def _check_ready(key: str, check: Ready, parsed: SectionContext) -> Iterator[Violation]:
    if bool(check.endpoint) == bool(check.service):
        message = "Either an endpoint or a service is needed."
        yield key, message, "Name the endpoint or the service that answers, not both."
    elif check.endpoint:
        yield from _check_endpoint(f"{key}.endpoint", check.endpoint, parsed)
        if check.port or check.command:
            yield key, "An endpoint has only a path to check.", "Name the service instead."
    else:
        yield from _check_running_service(f"{key}.service", check.service, parsed)
        if check.command and (check.port or check.path):
            yield key, "A command needs no port.", "Remove the command, or port and path."
        elif check.path and not check.port:
            yield f"{key}.port", "The path has no port.", "Add the port that answers."
