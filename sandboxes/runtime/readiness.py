"""Errors about sandboxes that don't become ready, shared by all runtimes."""

from __future__ import annotations

from sandboxes.runtime import NotReady, ReadyCheck, ServiceFacts, ServiceState


def require_running(name: str, service: ServiceFacts | None) -> None:
    """Raise NotReady unless the service was observed to run."""
    if service is None:
        raise NotReady(f"The service {name} disappeared during startup.", service=name)
    if service.state is ServiceState.RUNNING:
        return
    how = "ran out of memory" if service.out_of_memory else f"stopped ({service.exit_code})"
    if not service.out_of_memory and service.exit_code is not None:
        how = f"stopped with exit code {service.exit_code}"
    message = f"The service {name} {how} before the sandbox was ready."
    raise NotReady(message, service=name, exit_code=service.exit_code)


def timeout_error(check: ReadyCheck, seconds: float) -> NotReady:
    """Return the error for a sandbox that didn't respond in time."""
    return NotReady(
        f"The service {check.service} did not answer GET {check.path} with 200 "
        f"within {seconds:g} seconds.",
        service=check.service,
    )
