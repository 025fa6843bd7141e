"""The WSGI application: routing, authentication, responses, and the request log."""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg2

from . import documentation, health, parsing
from .database import Database, DatabaseUnavailable
from .database_errors import UNAVAILABLE, to_problem, unavailable
from .resources import OPERATIONS
from .settings import Settings
from .web import MAX_BODY_BYTES, Call, Operation, Problem, Response, status_line

UNLOGGED_PATHS = {"/healthz", "/readyz"}
"""Paths whose successful requests are not logged."""

# Pages of any origin may call the API: requests need the key, and cookies aren't used.
COMMON_HEADERS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Location, Retry-After, WWW-Authenticate"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
]

PATH = re.compile(r"(?P<list>/v1/[a-z]+)(?:/(?P<id>[a-z0-9_]+)(?P<action>/[a-z-]+)?)?")

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Application:
    """The API for one database and one API key."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._key = settings.api_key.encode()
        self._database = database
        self._routes: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            self._routes.setdefault(operation.path, {})[operation.method] = operation

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        started = time.monotonic()
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/"
        try:
            response = self._respond(environ, method, path)
        except Problem as problem:
            response = problem.response()
        except Exception:  # noqa: BLE001 - the client always gets a response
            traceback.print_exc()
            response = Problem(
                500, "Internal server error; see the logs of the sandbox."
            ).response()
        _log_request(method, path, response.status, started)
        return _send(environ, start_response, method, response)

    def _respond(self, environ: Environ, method: str, path: str) -> Response:
        if not path.startswith("/v1/"):
            return self._respond_without_key(method, path)
        routes, row_id = self._match_route(path)
        if method == "OPTIONS":
            return _preflight(routes)
        self._authenticate(environ.get("HTTP_AUTHORIZATION", ""))
        if not routes:
            raise Problem(404, f"Not found: {path}.")
        operation = routes.get("GET" if method == "HEAD" else method)
        if operation is None:
            raise _not_allowed(method, path, routes)
        return self._run_operation(operation, row_id, environ)

    def _run_operation(self, operation: Operation, row_id: str, environ: Environ) -> Response:
        read_only = operation.method == "GET"
        query = parsing.parse_query(operation, environ.get("QUERY_STRING", ""))
        body = None if read_only else parsing.parse_body(operation, _read_body(environ))
        try:
            result = self._database.transaction(
                lambda cursor: operation.handle(Call(cursor, row_id, body, query)),
                read_only=read_only,
            )
        except DatabaseUnavailable as error:
            raise unavailable(UNAVAILABLE) from error
        except psycopg2.Error as error:
            raise to_problem(error) from error
        response = Response(operation.status, msgspec.json.encode(result))
        if operation.status == HTTPStatus.CREATED:
            response.headers = [("Location", f"{operation.path}/{result.id}")]
        return response

    def _respond_without_key(self, method: str, path: str) -> Response:
        """Respond to paths outside the API, which need no key."""
        if method not in ("GET", "HEAD"):
            raise _not_allowed(method, path, {"GET": None})
        if path == "/healthz":
            return health.healthz()
        if path == "/readyz":
            return health.readyz(self._database)
        return documentation.respond(path, OPERATIONS)

    def _match_route(self, path: str) -> tuple[dict[str, Operation], str]:
        """Return the operations of a path by method, and the id in the path."""
        if not (match := PATH.fullmatch(path)):
            return {}, ""
        template = match["list"] + ("/{id}" if match["id"] else "") + (match["action"] or "")
        return self._routes.get(template, {}), match["id"] or ""

    def _authenticate(self, authorization: str) -> None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("Send the sandbox's API key: Authorization: Bearer sk_test_…", "")
        if not compare_digest(key.strip().encode(), self._key):
            raise _unauthorized(
                "Wrong API key. Use the API key of this sandbox.", ', error="invalid_token"'
            )


def _unauthorized(detail: str, error: str) -> Problem:
    return Problem(401, detail, headers=[("WWW-Authenticate", f'Bearer realm="billing"{error}')])


def _not_allowed(method: str, path: str, routes: dict[str, Any]) -> Problem:
    return Problem(
        405, f"{method} is not allowed for {path}.", headers=[("Allow", _allowed_methods(routes))]
    )


def _allowed_methods(routes: dict[str, Any]) -> str:
    return ", ".join(sorted({*routes, "OPTIONS", *(["HEAD"] if "GET" in routes else [])}))


def _preflight(routes: dict[str, Operation]) -> Response:
    """Respond to the CORS preflight request that browsers send before a cross-origin request."""
    headers = [
        ("Allow", _allowed_methods(routes)),
        ("Access-Control-Allow-Methods", _allowed_methods(routes)),
        ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
        ("Access-Control-Max-Age", "600"),
    ]
    return Response(204, headers=headers)


def _read_body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, f"The body is larger than {MAX_BODY_BYTES // 1024} KiB.")
    return body


def _send(
    environ: Environ, start_response: StartResponse, method: str, response: Response
) -> Iterable[bytes]:
    headers = [*COMMON_HEADERS, *response.headers]
    if response.status != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Type", response.content_type))
    if response.file:
        file = Path(response.file).open("rb")  # noqa: SIM115 - the server closes it
        start_response("200 OK", headers)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return wrapped
    headers.append(("Content-Length", str(len(response.body))))
    start_response(status_line(response.status), headers)
    return [] if method == "HEAD" else [response.body]


def _log_request(method: str, path: str, status: int, started: float) -> None:
    if path in UNLOGGED_PATHS and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return
    duration_ms = (time.monotonic() - started) * 1000
    # Quoted again, as a line break in the path would look like another line of the log.
    sys.stdout.write(f"{method} {quote(path)} {status} {duration_ms:.0f} ms\n")
    sys.stdout.flush()
