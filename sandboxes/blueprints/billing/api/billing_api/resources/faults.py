"""Faults on purpose: slow and failing responses, for some routes and for a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ..database import Cursor
from ..web import Call, Operation, Problem, invalid
from .crud import read_operations
from .models import Timestamp
from .table import PageQuery, Table, provided_fields

PATH = "/v1/faults"
KNOWN_PATHS: set[str] = set()
"""The paths of all operations, which a fault may name."""

FaultMethod = Literal["*", "GET", "POST", "PATCH", "DELETE"]
FaultStatus = Literal[429, 500, 502, 503, 504]
Path = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^(\*|/v1/[a-z_]+(/\{id\}(/[a-z-]+)?)?)\Z",
        description="A path of this document, or `*` for all",
        examples=["/v1/invoices/{id}/pay"],
    ),
]
Percent = Annotated[int, Meta(ge=0, le=100)]
Milliseconds = Annotated[int, Meta(ge=0, le=5000)]
RetryAfter = Annotated[int, Meta(ge=0, le=3600, description="Seconds")]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]

MAX_DELAYED = 2
"""Requests that wait at the same time; the other threads of the server stay free."""

ACTIVE = """
    SELECT id, latency_ms, error_percent, status, retry_after, created_at FROM faults
    WHERE ends_at > now() AND method IN ('*', %s) AND path IN ('*', %s)
    ORDER BY created_at DESC, id DESC LIMIT 1
"""


class Fault(Struct):
    """A fault of the API on purpose, until a time of the real clock. A reset ends all."""

    id: str
    method: FaultMethod
    path: str
    latency_ms: int
    error_percent: int
    status: int
    retry_after: int | None
    ends_at: Timestamp
    created_at: Timestamp


class NewFault(Struct, forbid_unknown_fields=True):
    """A fault to inject: `latency_ms`, `error_percent` of the requests, or both.

    Errors come at regular intervals, so that the same requests fail each time. The latest fault
    applies if several match. Requests to `/v1/faults` are never affected.
    """

    method: FaultMethod = "*"
    path: Path = "*"
    latency_ms: Milliseconds = 0
    error_percent: Percent = 0
    status: FaultStatus = 500
    retry_after: RetryAfter | None = None
    seconds: Seconds = 600


class FaultQuery(PageQuery, kw_only=True):
    """Filters of the list of faults."""

    method: FaultMethod | UnsetType = UNSET


class Injected(Exception):
    """A fault that applies to a request: wait, then fail or go on."""

    def __init__(self, latency_ms: int, problem: Problem | None) -> None:
        super().__init__("injected fault")
        self.latency_ms = latency_ms
        self.problem = problem


class FaultInjector:
    """Applies active faults, and counts requests so that the errors are spread evenly."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, datetime]] = Counter()
        self._delays = threading.BoundedSemaphore(MAX_DELAYED)

    def check(self, cursor: Cursor, operation: Operation) -> None:
        """Raise Injected if a fault applies to the operation."""
        if operation.path.startswith(PATH):
            return
        cursor.execute(ACTIVE, (operation.method, operation.path))
        if not (row := cursor.fetchone()):
            return
        fault_id, latency_ms, percent, status, retry_after, created_at = row
        self._requests[fault_id, created_at] += 1
        count = self._requests[fault_id, created_at]
        problem = None
        if count * percent // 100 > (count - 1) * percent // 100:
            wait = [] if retry_after is None else [("Retry-After", str(retry_after))]
            problem = Problem(status, f"Injected by fault {fault_id!r}.", headers=wait)
        if latency_ms or problem:
            raise Injected(latency_ms, problem)

    def delay(self, latency_ms: int) -> None:
        """Wait, unless too many requests do so already."""
        if latency_ms and self._delays.acquire(blocking=False):
            try:
                time.sleep(latency_ms / 1000)
            finally:
                self._delays.release()


FAULTS = Table("faults", "fault", Fault)


def create(call: Call) -> Fault:
    """Inject a fault for a number of seconds."""
    body: NewFault = call.body
    if not (body.latency_ms or body.error_percent):
        raise invalid("error_percent", "set `error_percent` or `latency_ms`")
    if body.path != "*" and body.path not in KNOWN_PATHS:
        raise invalid("path", "must be a path of the API, such as /v1/invoices/{id}/pay, or *")
    values = provided_fields(body)
    call.cursor.execute("SELECT now() + %s * interval '1 second'", (values.pop("seconds"),))
    (ends_at,) = call.cursor.fetchone() or ()
    return FAULTS.insert(call.cursor, ends_at=ends_at, **values)


def delete(call: Call) -> Fault:
    """End a fault, and return it."""
    fault = FAULTS.get(call.cursor, call.id, lock=True)
    call.cursor.execute("DELETE FROM faults WHERE id = %s", (call.id,))
    return fault


OPERATIONS = [
    *read_operations(FAULTS, FaultQuery),
    Operation("createFault", "POST", PATH, "Inject a fault", create, Fault, NewFault, status=201),
    Operation("deleteFault", "DELETE", f"{PATH}/{{id}}", "End a fault", delete, Fault),
]
