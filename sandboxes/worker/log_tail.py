"""The last log lines of a sandbox, stored before it is destroyed."""

from __future__ import annotations

from collections.abc import Callable

from sandboxes.blueprints import BlueprintNotFound, for_sandbox
from sandboxes.core import leases
from sandboxes.encryption.fields import DecryptionError
from sandboxes.lib import clock
from sandboxes.lib.redaction import redact
from sandboxes.models import Sandbox, State
from sandboxes.runtime import EngineUnreachable, Runtime, RuntimeFailure, get_runtime

TAIL_LINES = 60
LOG_ERRORS = (EngineUnreachable, BlueprintNotFound, DecryptionError)


def collect_log_tails(sandbox: Sandbox) -> str:
    """Return the log tails of all services, without secrets.

    Never raise: a failure must be recorded even if its logs can't be read.
    """
    try:
        return log_tail_reader(sandbox)()
    except LOG_ERRORS as error:
        return f"(no logs: {error})"


def lacks_log_tails(sandbox: Sandbox) -> bool:
    """Return whether the sandbox ran and its logs aren't stored yet; a failure has them already."""
    return bool(sandbox.started_at and not sandbox.failure and not sandbox.final_logs)


def store_log_tails(sandbox: Sandbox, tails: str) -> None:
    """Store the log tails of a sandbox that is being destroyed.

    Renews the lease, because reading logs takes long if the engine hangs.
    """
    until = clock.now() + leases.LEASE_DURATION
    leases.release_lease(sandbox, State.DESTROYING, until, final_logs=tails)


def log_tail_reader(sandbox: Sandbox) -> Callable[[], str]:
    """Return a function that reads the log tails of all services from the engine.

    The function needs no database, so it may run in any thread. It raises EngineUnreachable.

    Raises BlueprintNotFound, DecryptionError.
    """
    public_id, secrets = sandbox.public_id, sandbox.secrets
    runtime = get_runtime(sandbox.engine.connection)
    services = [service.name for service in for_sandbox(sandbox).services]

    def read() -> str:
        text = "\n\n".join(_read_tail(runtime, public_id, service) for service in services)
        return redact(text, secrets)

    return read


def _read_tail(runtime: Runtime, public_id: str, service: str) -> str:
    try:
        text = runtime.logs(public_id, service, TAIL_LINES)
    except EngineUnreachable:
        raise
    except RuntimeFailure as error:
        text = f"(no log: {error})"
    return f"== {service} ==\n{text.strip()}"
