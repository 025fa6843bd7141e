"""The last log lines of a sandbox, stored before it is destroyed."""

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
    """Return the log tails of all services, without secrets.

    Never raise: a failure must be recorded even if its logs can't be read.
    """
    try:
        return _read_tails(sandbox)
    except LOG_ERRORS as error:
        return f"(no logs: {error})"


def store_log_tails(sandbox: Sandbox) -> None:
    """Store the log tails of a sandbox that ran and didn't fail; a failure has them already.

    Renews the lease, because reading logs takes long if the engine hangs.
    """
    if sandbox.started_at and not sandbox.failure and not sandbox.final_logs:
        with suppress(*LOG_ERRORS):
            tails = _read_tails(sandbox)
            until = clock.now() + leases.LEASE_DURATION
            leases.release_lease(sandbox, State.DESTROYING, until, final_logs=tails)


def _read_tails(sandbox: Sandbox) -> str:
    services = load(sandbox.blueprint).services
    text = "\n\n".join(_read_tail(sandbox, service.name) for service in services)
    return redact(text, sandbox.secrets)


def _read_tail(sandbox: Sandbox, service: str) -> str:
    try:
        text = get_runtime().logs(sandbox.public_id, service, TAIL_LINES)
    except EngineUnreachable:
        raise
    except RuntimeFailure as error:
        text = f"(no log: {error})"
    return f"== {service} ==\n{text.strip()}"
