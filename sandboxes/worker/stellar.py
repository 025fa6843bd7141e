"""Find payments to the Stellar accounts of sandboxes, and report them to their sandboxes.

A sandbox reaches no network, so a thread of the worker asks Horizon while a sandbox waits for a
payment: after each of its events, and then at intervals until it no longer waits. The thread stores
nothing: when a worker starts, it asks all sandboxes once, and a sandbox recognizes a payment that
was reported before by its id.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

import structlog
from django.db import close_old_connections

from sandboxes import blueprints, explorer, stellar
from sandboxes.blueprints.blueprint import Transfers
from sandboxes.encryption.fields import DecryptionError
from sandboxes.explorer.json_responses import json_object
from sandboxes.lib import batches
from sandboxes.lib.exceptions import ServiceError, Unavailable
from sandboxes.lib.http.tcp_traffic import Traffic
from sandboxes.models import Funding, Sandbox, State

log = structlog.get_logger(__name__)

POLL_SECONDS = 5.0
"""Between two checks of a sandbox; a ledger of the network closes about as often."""
PAUSE_SECONDS = 60.0
"""After a check that failed."""
TICK_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0
MAX_HASHES = 10
TURNED_OFF = "This portal doesn't look for payments on Stellar's network."
NOT_FUNDED = "The sandbox's Stellar account isn't funded, so it can't be paid."

_requested: SimpleQueue[int] = SimpleQueue()
"""Primary keys of sandboxes that may wait for a payment."""


def request_check(sandbox: Sandbox) -> None:
    """Let the worker's thread check soon whether a sandbox waits for a payment."""
    blueprint = blueprints.find_for_sandbox(sandbox)
    if blueprint and blueprint.transfers:
        _requested.put(sandbox.pk)


def start() -> None:
    """Look for payments in a thread, until the process shuts down."""
    Thread(target=_run, name="stellar-payments", daemon=True).start()


def _run() -> None:
    due: dict[int, float] = {}
    try:
        funded = Sandbox.objects.filter(state=State.RUNNING, funding=Funding.FUNDED)
        for sandbox in funded.defer("secrets"):
            request_check(sandbox)
    except Exception:
        log.exception("stellar_payments_failed")
    while not batches.stopping.is_set():
        close_old_connections()  # None is held while the thread waits.
        _take_requested(due)
        for pk in [pk for pk, at in due.items() if at <= monotonic()]:
            try:
                seconds = check(pk)
            except Exception:
                # The database may be away for a moment.
                log.exception("stellar_payments_failed")
                seconds = PAUSE_SECONDS
            if seconds is None:
                del due[pk]
            else:
                due[pk] = monotonic() + seconds


def _take_requested(due: dict[int, float]) -> None:
    try:
        due[_requested.get(timeout=TICK_SECONDS)] = 0.0
        while True:
            due[_requested.get_nowait()] = 0.0
    except Empty:
        pass


def check(pk: int) -> float | None:
    """Look for the payments of a sandbox; return the seconds until the next check, if any."""
    sandbox = Sandbox.objects.filter(pk=pk, state=State.RUNNING).first()
    blueprint = blueprints.find_for_sandbox(sandbox) if sandbox else None
    if sandbox is None or blueprint is None or blueprint.transfers is None:
        return None
    try:
        reporter = Reporter(sandbox, blueprint.transfers)
        hashes = reporter.expected()
        if hashes is None:
            return None
        return _report(sandbox, reporter, hashes)
    except (ServiceError, DecryptionError, KeyError) as error:
        log.info("stellar_payments_not_reported", sandbox=sandbox.public_id, error=str(error))
        return PAUSE_SECONDS


def _report(sandbox: Sandbox, reporter: Reporter, hashes: list[str]) -> float:
    if not stellar.is_enabled() or sandbox.funding != Funding.FUNDED:
        reporter.report(problem=NOT_FUNDED if stellar.is_enabled() else TURNED_OFF)
        return PAUSE_SECONDS
    try:
        found = stellar.latest_transfers(sandbox.stellar_public_key)
        by_hash = {one: stellar.transfers_of(one) for one in hashes}
    except stellar.HorizonUnavailable as error:
        reporter.report(problem=str(error))
        return PAUSE_SECONDS
    found += [one for some in by_hash.values() for one in some or () if one not in found]
    missing = [one for one, some in by_hash.items() if some is None]
    reporter.report(found, missing)
    return POLL_SECONDS


@dataclass
class Reporter:
    """Requests to a sandbox about payments, which don't count as activity."""

    sandbox: Sandbox
    paths: Transfers

    def expected(self) -> list[str] | None:
        """Return the hashes to look for; None if the sandbox waits for no payment."""
        rows = self._send("GET", self.paths.expected).get("data")
        if not isinstance(rows, list) or not rows:
            return None
        hashes = [row.get("transaction_hash") for row in rows if isinstance(row, dict)]
        valid = [one for one in hashes if isinstance(one, str) and _is_hash(one)]
        return list(dict.fromkeys(valid))[:MAX_HASHES]

    def report(
        self, found: list[stellar.Transfer] | None = None, missing: Any = (), problem: str = ""
    ) -> None:
        """Post what was found, the hashes that weren't, and why the portal can't look."""
        transfers = [asdict(one) for one in found or ()]
        body = {"transfers": transfers, "missing": list(missing), "problem": problem}
        self._send("POST", self.paths.report, json.dumps(body).encode())

    def _send(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        access = explorer.portal_access(self.sandbox, self.paths.endpoint, self.paths.secret)
        traffic = [Traffic()]
        request = explorer.ApiRequest(method, path, body, automatic=True)
        try:
            response = explorer.send_as_portal(access, request, TIMEOUT_SECONDS, traffic.append)
        finally:
            total = sum(traffic, Traffic())
            rows = Sandbox.objects.filter(pk=self.sandbox.pk)
            rows.add_portal_traffic(received=total.sent, sent=total.received)
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise Unavailable(f"The sandbox returned {response.status}.")
        return json_object(response.body)


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(one in "0123456789abcdef" for one in text)  # noqa: PLR2004
