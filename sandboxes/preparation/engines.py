"""Check engines, and add them to the portal. Only for commands and workers: it calls engines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from sandboxes.core.fleet import Fleet
from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.models import Engine
from sandboxes.models.engine import check_labels, described_by
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor, CommandActor
from sandboxes.preparation import engine_certificates
from sandboxes.runtime import (
    Capabilities,
    EngineUnreachable,
    RuntimeFailure,
    get_runtime,
)
from sandboxes.runtime.host_resources import ProxyPolicy
from sandboxes.runtime.port_rotation import HOST_PORTS

CERTIFICATE_FILES = ("ca.pem", "cert.pem", "key.pem")


def add(engine: Engine, actor: AuditActor | CommandActor, reason: str) -> None:
    """Add an engine that passes all checks, and record it in the audit log.

    Raises ValidationFailed with the field and the remedy.
    """
    if settings.SANDBOX_RUNTIME == "process":
        raise ValidationFailed("address", "Sandboxes run as processes, which need no engine.")
    try:
        engine.clean_fields()
        check_labels(engine.labels)
    except ValidationError as error:
        raise _invalid(error) from error
    others = [one for one in Fleet.read().engines if one.name != engine.name]
    known = Engine.objects.filter(name=engine.name).first()
    if known and not known.removed_at:
        raise ValidationFailed("name", f"There is an engine {engine} already.")
    _check_addresses(engine, others)
    found = check(engine, others)
    for name, value in described_by(found).items():
        setattr(engine, name, value)
    with transaction.atomic():
        engine.save()
        audit.record(actor, "add", engine, reason, {"address": ["", engine.address]})


def _invalid(error: ValidationError) -> ValidationFailed:
    found = error.message_dict if hasattr(error, "error_dict") else {"labels": error.messages}
    field, messages = next(iter(found.items()))
    return ValidationFailed(field, " ".join(messages))


def _check_addresses(engine: Engine, others: Iterable[Engine]) -> None:
    url = urlsplit(engine.address)
    if url.scheme == "tcp" and url.hostname and url.port:
        published = ipaddress.ip_address(engine.published_on)
        if published.is_loopback or published.is_unspecified:
            raise ValidationFailed(
                "publish_address",
                "Name an address of the engine's machine that the portal and its users reach.",
            )
    elif not (url.scheme == "unix" and url.path):
        raise ValidationFailed("address", "Use tcp://HOST:PORT or unix:///PATH.")
    if same := next((one for one in others if one.address == engine.address), None):
        raise ValidationFailed("address", f"This is the address of the engine {same}.")


def check(engine: Engine, others: Iterable[Engine] = ()) -> Capabilities:
    """Return the capabilities of an engine. Raises ValidationFailed if it can't be used."""
    if engine.address.startswith("tcp:"):
        _check_certificates()
    runtime = get_runtime(engine.connection)
    try:
        found, present = runtime.capabilities(), runtime.observe()
    except RuntimeFailure as error:
        raise ValidationFailed("address", _explanation(error)) from error
    for other in others:
        if found.engine_id and other.engine_id == found.engine_id:
            raise ValidationFailed(
                "address",
                f"This is the engine {other}, or a copy of its machine. On the copy, stop it, "
                "delete /etc/docker/key.json and engine-id in its data root, and start it again.",
            )
        if other.architecture and other.architecture != found.architecture:
            raise ValidationFailed(
                "address",
                f"Its machine is {found.architecture}, and that of {other} is "
                f"{other.architecture}. Images can't be shared.",
            )
    if found.proxy_policy:
        _check_policy(engine, found.proxy_policy)
    if found.resources.subnets_taken and not present:
        raise ValidationFailed(
            "address",
            f"Networks of the engine overlap with SANDBOX_SUBNETS ({settings.SANDBOX_SUBNETS}). "
            "Remove them.",
        )
    return found


def _check_certificates() -> None:
    folder = Path(settings.SANDBOX_ENGINE_CERTIFICATES)
    if missing := [name for name in CERTIFICATE_FILES if not (folder / name).is_file()]:
        raise ValidationFailed(
            "address",
            f"TLS needs {', '.join(missing)} in SANDBOX_ENGINE_CERTIFICATES ({folder}). Issue "
            "certificates with `manage.py engine issue-certificate`.",
        )
    if problem := engine_certificates.problem_with_client(folder):
        raise ValidationFailed("address", problem)


def _check_policy(engine: Engine, allowed: ProxyPolicy) -> None:
    """Refuse an engine whose socket proxy would deny every launch. Raises ValidationFailed."""
    wanted = engine.published_on
    if allowed.publish_address != wanted:
        raise ValidationFailed(
            "publish_address",
            f"The engine's machine publishes ports on {allowed.publish_address}, not on {wanted}. "
            "Correct the address, or SANDBOX_BIND_ADDRESS there.",
        )
    if not allowed.has_address:
        raise ValidationFailed(
            "publish_address", f"The engine's machine doesn't have the address {wanted}."
        )
    ports = settings.SANDBOX_PORTS or HOST_PORTS
    if not (
        settings.SANDBOX_SUBNETS.subnet_of(allowed.subnets)
        and ports.start in allowed.ports
        and ports.stop - 1 in allowed.ports
    ):
        raise ValidationFailed(
            "address",
            "The socket proxy of its machine allows other subnets or ports than the portal uses. "
            f"Set SANDBOX_SUBNETS={settings.SANDBOX_SUBNETS} and "
            f"SANDBOX_PORTS={ports.start}-{ports.stop - 1} there.",
        )


ISSUE = "`manage.py engine issue-certificate NAME`"
RENEW = "`manage.py engine issue-certificate --portal`"
CAUSES = {
    "certificate has expired": f"The engine's certificate has expired. Renew it: {ISSUE}.",
    "not yet valid": (
        "The engine's certificate isn't valid yet. Correct the clocks of both machines."
    ),
    "mismatch": (
        "The engine's certificate isn't for this address. Correct the address, or issue one: "
        f"{ISSUE}."
    ),
    "CERTIFICATE_VERIFY_FAILED": (
        "The engine's certificate isn't one of the CA in ca.pem. Correct the address, or issue "
        f"one: {ISSUE}."
    ),
    "WRONG_VERSION_NUMBER": "What answers there doesn't use TLS. Correct the address.",
    "ALERT": (
        "The engine rejects the portal's certificate. Use one of the engine's CA, or renew it: "
        f"{RENEW}."
    ),
    "EOF|Connection reset|Connection aborted|closed connection": (
        "The engine ends the connection. If its log says that it refused a certificate, renew the "
        f"portal's: {RENEW}."
    ),
}
"""What it means if the cause of a failed connection contains one of these patterns."""


def _explanation(error: RuntimeFailure) -> str:
    """Return what is wrong with a connection, as far as its cause shows it."""
    cause = str(error.__cause__)
    for pattern, explanation in CAUSES.items():
        if re.search(pattern, cause):
            return explanation
    if isinstance(error, EngineUnreachable):
        return f"No engine answers there. {error}"
    return str(error)
