"""Progress of a worker on a sandbox, written to the row together with the lease."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sandboxes.core import leases
from sandboxes.lib import clock
from sandboxes.models import Sandbox

RENEW_EVERY = timedelta(seconds=5)


class LeaseLost(Exception):
    """The sandbox ended, or another worker took it over, while this worker processed it."""


class Progress:
    """Recorder of provisioning steps that renews the lease while a step waits."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.steps: list[dict[str, Any]] = []
        self.renewed_at = clock.now()

    def report(self, name: str) -> None:
        """Record that this step is running. Raises LeaseLost."""
        now = clock.now()
        if not self.steps or self.steps[-1]["name"] != name:
            self.close("done", now)
            self.steps.append(
                {"name": name, "state": "running", "started_at": now.isoformat(), "seconds": None}
            )
        elif timedelta(0) <= now - self.renewed_at < RENEW_EVERY:
            return
        self.save(now)

    def close(self, state: str, now: datetime) -> None:
        if self.steps and self.steps[-1]["state"] == "running":
            started_at = datetime.fromisoformat(self.steps[-1]["started_at"])
            self.steps[-1] |= {
                "state": state,
                "seconds": round((now - started_at).total_seconds(), 2),
            }

    def save(self, now: datetime) -> None:
        self.renewed_at = now
        renew_or_abort(self.sandbox, steps=self.steps)


def renew_or_abort(sandbox: Sandbox, **values: Any) -> None:
    """Renew the lease of a sandbox and store the values. Raises LeaseLost."""
    if not leases.renew_lease(sandbox, **values):
        raise LeaseLost
