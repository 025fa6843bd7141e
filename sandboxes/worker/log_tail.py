"""What the services of a sandbox wrote last, kept before it is taken down."""

from __future__ import annotations

from contextlib import suppress

from sandboxes.blueprints import BlueprintNotFound, load
from sandboxes.core import leases
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock
from sandboxes.lib.redaction import redact
from sandboxes.models import Sandbox, State
from sandboxes.runtime import EngineUnreachable, RuntimeFailure, get_runtime

TAIL_LINES = 60
LOG_ERRORS = (EngineUnreachable, BlueprintNotFound, DecryptionError)


def collect_log_tails(sandbox: Sandbox) -> str:
    """The log tails of all its services, without its secrets. Raises nothing: it must end."""
    try:
        return _tails(sandbox)
    except LOG_ERRORS as error:
        return f"(no logs: {error})"


def store_log_tails(sandbox: Sandbox) -> None:
    """Those of a sandbox that ran and did not fail; what failed has them already.

    The lease begins anew, since an engine that hangs makes this take long.
    """
    if sandbox.started_at and not sandbox.failure and not sandbox.last_logs:
        with suppress(*LOG_ERRORS):
            words = _tails(sandbox)
            until = clock.now() + leases.LEASE_DURATION
            leases.release_lease(sandbox, State.DESTROYING, until, last_logs=words)


def _tails(sandbox: Sandbox) -> str:
    services = load(sandbox.blueprint).services
    text = "\n\n".join(_tail(sandbox, service.name) for service in services)
    return redact(text, sandbox.secrets)


def _tail(sandbox: Sandbox, service: str) -> str:
    try:
        text = get_runtime().logs(sandbox.public_id, service, TAIL_LINES)
    except EngineUnreachable:
        raise
    except RuntimeFailure as error:
        text = f"(no log: {error})"
    return f"== {service} ==\n{text.strip()}"
