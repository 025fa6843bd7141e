"""The WSGI application: routing, authentication and responses."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import psycopg2

from . import cors, documentation, health, idempotency, parsing
from .changes import Changes
from .cycle import clock
from .database import Cursor, Database, DatabaseUnavailable
from .database_errors import UNAVAILABLE, to_problem
from .idempotency import Outcome
from .request_log import RequestLog, entry, is_logged, log_request, request_id
from .resources import OPERATIONS, requests
from .resources.faults import FaultInjector, Injected
from .settings import Settings
from .web import (
    MAX_BODY_BYTES,
    Call,
    NothingYet,
    Operation,
    Problem,
    Response,
    status_line,
    unavailable,
)

COMMON_HEADERS = [
    *cors.HEADERS,
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
]

PATH = re.compile(r"(?P<list>/v1/[a-z_]+)(?:/(?P<id>[a-z0-9_]+)(?P<action>/[a-z-]+)?)?")

BODY = "billing.body"
"""Where the environment of a request has its body, once it was read."""

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Created(msgspec.Struct):
    """The part of a created resource that its location needs."""

    id: str


class Application:
    """The API for one database and one API key; calls ``after_write`` after each change."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        request_log: RequestLog,
        after_write: Callable[[], None],
    ) -> None:
        self._key = settings.api_key.encode()
        self._portal_key = settings.portal_key.encode()
        self._scenario = settings.scenario
        self._stellar_address = settings.stellar_address
        self._database = database
        self._request_log = request_log
        self._after_write = after_write
        self._changes = Changes()
        request_log.on_written = self._changes.announce
        self._faults = FaultInjector()
        self._routes: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            self._routes.setdefault(operation.path, {})[operation.method] = operation

    def stop_waiting(self) -> None:
        """Answer requests that wait at once, as the process ends."""
        self._changes.stop()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        started, identifier = time.monotonic(), request_id(environ)
        try:
            response = self._respond(environ)
        except Problem as problem:
            response = problem.response()
        except Exception:  # noqa: BLE001 - the client always gets a response
            traceback.print_exc()
            detail = f"Internal server error; see the logs of the sandbox at {identifier}."
            response = Problem(500, detail).response()
        response.headers = [*response.headers, ("Request-Id", identifier)]
        self._log(environ, response, identifier, started)
        return _send(environ, start_response, response)

    def _log(self, environ: Environ, response: Response, identifier: str, started: float) -> None:
        log_request(environ, response.status, identifier, started)
        path = environ.get("PATH_INFO", "")
        if is_logged(environ, response.status) and not path.startswith(requests.PATH):
            sent = environ.get(BODY, b"")
            # Pages of the documentation are of no interest.
            answer = response.body if path.startswith("/v1/") else b""
            self._request_log.add(
                entry(environ, response.status, identifier, started, sent, answer)
            )

    def _respond(self, environ: Environ) -> Response:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/"
        in_api = path.startswith("/v1/")
        routes, row_id = self._match_route(path) if in_api else ({"GET": None}, "")
        if method == "OPTIONS":
            asked_headers = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
            return cors.preflight(_allowed_methods(routes), asked_headers)
        if in_api:
            self._authenticate(environ)
        if not routes:
            raise Problem(404, f"Not found: {path}.")
        name = "GET" if method == "HEAD" else method
        if name not in routes:
            raise _not_allowed(method, path, routes)
        if operation := routes[name]:
            return self._run(operation, row_id, environ)
        return self._respond_openly(path, environ.get("QUERY_STRING", ""))

    def _run(self, operation: Operation, row_id: str, environ: Environ) -> Response:
        read_only = operation.method == "GET"
        query = parsing.parse_query(operation, environ.get("QUERY_STRING", ""))
        body = None if read_only else parsing.parse_body(operation, _read_body(environ))
        key = "" if read_only else idempotency.parse_key(environ.get("HTTP_IDEMPOTENCY_KEY"))
        route = f"{operation.method} {environ['PATH_INFO']}"
        if operation in requests.OPERATIONS:
            self._request_log.flush()

        def run(cursor: Cursor, *, with_faults: bool = True, may_wait: bool = False) -> Outcome:
            if with_faults and not environ.get("HTTP_SANDBOX_PORTAL"):
                self._faults.check(cursor, operation)
            if not read_only:
                clock.lock(cursor, operation.clock_lock)

            def handle() -> bytes:
                call = Call(cursor, row_id, body, query, self._key, may_wait, self._stellar_address)
                return msgspec.json.encode(operation.handle(call))

            if not key:
                return Outcome(handle())
            return idempotency.run_once(cursor, route, key, msgspec.json.encode(body), handle)

        try:
            outcome = self._when_ready(run, getattr(query, "wait", 0), read_only=read_only)
        except DatabaseUnavailable as error:
            raise unavailable(UNAVAILABLE) from error
        except psycopg2.Error as error:
            raise to_problem(error) from error
        if not read_only:
            self._after_write()
            self._changes.announce()
        return _success(operation, outcome)

    def _when_ready(
        self, run: Callable[..., Outcome], seconds: float, *, read_only: bool
    ) -> Outcome:
        """Run an operation; again after each change while it has nothing to return."""
        if seconds:
            with self._changes.deadline(seconds) as deadline:
                while self._changes.may_wait(deadline):
                    seen = self._changes.count
                    try:
                        return self._transaction(partial(run, may_wait=True), read_only=read_only)
                    except NothingYet:
                        self._changes.wait(seen, deadline)
        return self._transaction(run, read_only=read_only)

    def _transaction(self, run: Callable[..., Outcome], *, read_only: bool) -> Outcome:
        """Run an operation, with the faults that apply to it. Raises their problem."""
        try:
            return self._database.transaction(run, read_only=read_only)
        except Injected as fault:
            self._faults.delay(fault.latency_ms)
            if fault.problem:
                raise fault.problem from fault
        go_on = partial(run, with_faults=False)
        return self._database.transaction(go_on, read_only=read_only)

    def _respond_openly(self, path: str, query: str) -> Response:
        """Respond to paths outside the API, which need no key."""
        if path == "/identity":
            return health.identity(self._key, query)
        if path == "/healthz":
            return health.healthz()
        if path == "/readyz":
            return health.readyz(self._database, self._scenario)
        return documentation.respond(path, OPERATIONS)

    def _match_route(self, path: str) -> tuple[dict[str, Operation], str]:
        """Return the operations of a path by method, and the id in the path."""
        if not (match := PATH.fullmatch(path)):
            return {}, ""
        template = match["list"] + ("/{id}" if match["id"] else "") + (match["action"] or "")
        return self._routes.get(template, {}), match["id"] or ""

    def _authenticate(self, environ: Environ) -> None:
        """Check the key. Requests with the portal's own key are not the developer's."""
        scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("Send the sandbox's API key: Authorization: Bearer sk_test_…", "")
        if self._portal_key and compare_digest(key.strip().encode(), self._portal_key):
            environ["HTTP_SANDBOX_PORTAL"] = "1"
            return
        if not compare_digest(key.strip().encode(), self._key):
            raise _unauthorized(
                "Wrong API key. Use the API key of this sandbox.", ', error="invalid_token"'
            )


def _success(operation: Operation, outcome: Outcome) -> Response:
    response = Response(operation.status, outcome.body)
    if operation.status == HTTPStatus.CREATED:
        created = msgspec.json.decode(outcome.body, type=Created)
        response.headers = [("Location", f"{operation.path}/{created.id}")]
    if outcome.replayed:
        response.headers = [*response.headers, ("Idempotent-Replayed", "true")]
    return response


def _unauthorized(detail: str, error: str) -> Problem:
    return Problem(401, detail, headers=[("WWW-Authenticate", f'Bearer realm="billing"{error}')])


def _not_allowed(method: str, path: str, routes: dict[str, Any]) -> Problem:
    allowed = _allowed_methods(routes)
    return Problem(405, f"{method} is not allowed for {path}.", headers=[("Allow", allowed)])


def _allowed_methods(routes: dict[str, Any]) -> str:
    return ", ".join(sorted({*routes, "OPTIONS", *(["HEAD"] if "GET" in routes else [])}))


def _read_body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, f"The body is larger than {MAX_BODY_BYTES // 1024} KiB.")
    environ[BODY] = body
    return body


def _send(environ: Environ, start_response: StartResponse, response: Response) -> Iterable[bytes]:
    headers = [*COMMON_HEADERS, *response.headers]
    if response.status != HTTPStatus.NO_CONTENT:
        size = Path(response.file).stat().st_size if response.file else len(response.body)
        headers += [("Content-Type", response.content_type), ("Content-Length", str(size))]
    start_response(status_line(response.status), headers)
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    if not response.file:
        return [response.body]
    file = Path(response.file).open("rb")  # noqa: SIM115 - the server closes it
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped
