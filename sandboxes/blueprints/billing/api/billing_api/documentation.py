"""The OpenAPI document and its Swagger UI page; all files are served locally."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from .web import Operation, Problem, Response

# Only these files of the package flask-swagger-ui are used.
SWAGGER_UI_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}

LOCAL_ASSETS = {"start.js": "text/javascript; charset=utf-8", "page.css": "text/css; charset=utf-8"}

# Swagger UI draws its icons from data URLs.
SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE_HEADERS = [("Content-Security-Policy", SECURITY_POLICY), ("Referrer-Policy", "no-referrer")]


def respond(path: str, operations: list[Operation]) -> Response:
    """Return the page or file at a path outside the API. Raises a 404 problem."""
    if path == "/":
        return Response(302, headers=[("Location", "/docs")])
    if path in ("/docs", "/docs/"):
        return _local_file("page.html", "text/html; charset=utf-8")
    if path == "/openapi.json":
        return _specification(operations)
    name = path.removeprefix("/docs/")
    if name in LOCAL_ASSETS:
        return _local_file(name, LOCAL_ASSETS[name])
    if name in SWAGGER_UI_ASSETS and (package := find_spec("flask_swagger_ui")) and package.origin:
        return _file_response(Path(package.origin).parent / "dist" / name, SWAGGER_UI_ASSETS[name])
    raise Problem(404, f"Not found: {path}. The documentation is at /docs.")


def _specification(operations: list[Operation]) -> Response:
    # Imported on demand: rarely needed, and slower to import than everything else together.
    from .openapi import specification

    return Response(body=specification(operations))


def _local_file(name: str, content_type: str) -> Response:
    return _file_response(Path(__file__).parent / "docs" / name, content_type)


def _file_response(path: Path, content_type: str) -> Response:
    return Response(content_type=content_type, headers=PAGE_HEADERS, file=str(path))
