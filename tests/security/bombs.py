"""Every reader of foreign data, and what makes a careless one take all memory or time.

`python -m tests.security.bombs` feeds each reader its bombs under a memory limit, and prints one
JSON object for each: the reader, the bomb, the memory in MB and the seconds that it took.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.helpers.directories import forest, nest
from tests.security.openapi_bombs import BOMBS

MB = 1024 * 1024
MEMORY_LIMIT_MB = 200
SECONDS = 0.3
MAX_BYTES = MB

Bomb = Callable[[], Any]

TEXT_BOMBS: dict[str, bytes] = {
    "many arrays": b"[" + b"[]," * 300_000 + b"0]",
    "many objects": b"[" + b'{"":0},' * 140_000 + b"0]",
    "as many objects as allowed": b"[" + b'{"":0},' * 49_000 + b"0]",
    "deep arrays": b"[" * 500_000,
    "deep objects": b'{"a":' * 200_000,
    "as deep as allowed": b"[" + (b"[" * 50 + b"]" * 50 + b",") * 1900 + b"0]",
    "surrogates": b'["' + rb"\ud800" * 170_000 + b'"]',
    "escapes": b'["' + rb"\n\ud83d\ude00" * 70_000 + b'"]',
    "wide characters": ("[" + '"' + "😀" * 250_000 + '"]').encode(),
    "a huge integer": b"9" * MB,
    "large integers": b"[" + b"9" * 299 + (b"," + b"9" * 299) * 3000 + b"]",
    "infinite numbers": b"[" + b"1e999999," * 90_000 + b"NaN]",
    "quotes": b'["' + rb"\"" * 500_000 + b'"]',
    "an open text": b'["' + rb"\"" * 500_000,
    "zeros": b"\0" * MB,
    "line ends": b"\n" * MB,
    "no UTF-8": b"\xff" * MB,
    "one line": b"GET /" + b"A" * MB,
}


def page_bombs() -> Iterator[tuple[str, bytes]]:
    """Yield pages of a list whose items, or their values, are bombs."""
    for name, text in TEXT_BOMBS.items():
        yield (
            name,
            b"".join((b'{"data": [{"id": ', text[:480_000], b', "name": ', text[:480_000], b"}]}")),
        )
        yield f"{name} as the page", b'{"data": ' + text + b"}"


def openapi_bombs() -> Iterator[tuple[str, bytes]]:
    from sandboxes.explorer import client

    yield from TEXT_BOMBS.items()
    for name, document in BOMBS.items():
        source = json.dumps({"openapi": "3.1.0"} | document).encode()
        assert len(source) < client.MAX_RESPONSE_BYTES
        yield name, source


def read_openapi(source: bytes) -> None:
    from sandboxes.blueprints.auth import Auth
    from sandboxes.explorer import openapi, postman
    from sandboxes.lib.untrusted_json import dumps_pretty

    try:
        found = openapi.read(source)
    except openapi.InvalidOpenAPIDocument:
        return
    collection = postman.build_collection(found, "x", "http://x", Auth(), "")
    assert len(json.dumps(collection)) < 6 * MB
    dumps_pretty(collection)


def read_response(body: bytes) -> None:
    from sandboxes.explorer import ApiResponse
    from sandboxes.views.explorer.response import RenderedResponse

    response = ApiResponse(200, [], body, complete=True, seconds=0.1)
    assert len(RenderedResponse(response, "curl").highlighted) < 5 * MB


def read_list(body: bytes) -> None:
    from django.template.loader import render_to_string

    from sandboxes.explorer import ApiResponse, openapi
    from sandboxes.views.explorer import tables

    columns = {name: {} for name in ("id", "name", "updated_at")}
    rows = {"properties": {"data": {"items": {"properties": columns}}}}
    listing = {"responses": {"200": {"content": {"application/json": {"schema": rows}}}}}
    source = json.dumps({"openapi": "3.1.0", "paths": {"/plans": {"get": listing}}})
    description = openapi.read(source.encode())
    (operation,) = description.lists
    response = ApiResponse(200, [], body, complete=True, seconds=0.1)
    with mock.patch.object(tables.explorer, "send", return_value=response):
        table = tables.read_table(mock.Mock(), description, operation)
    sandbox = SimpleNamespace(public_id="sbx_0000000000000000")
    context = {"table": table, "sandbox": sandbox}
    assert len(render_to_string("sandboxes/_explorer_table.html", context)) < 5 * MB


def read_log(text: bytes) -> None:
    from sandboxes.runtime import LineCount
    from sandboxes.runtime.process.supervisor import logfile
    from sandboxes.views.logs import Log

    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "api.log")
        log.write_bytes(text * 4)
        logfile.carry_count(log, LineCount("api", "[A-Z]+ /"))
        logfile.truncate_log(log)
    shown = Log(SimpleNamespace(), query="x", text=text[-256 * 1024 :].decode(errors="replace"))
    assert shown.matches is not None


def read_frames(text: bytes) -> None:
    from sandboxes.runtime.docker.exec_and_logs import FRAME, Frames

    frames = Frames()
    for _ in range(8):
        frames.feed(FRAME.pack(1, len(text)) + text)
    Frames().feed(text)


def read_http(response: Bomb) -> None:
    from sandboxes.lib.http import client as http_client
    from tests.fakes.streaming_server import streaming_server

    limits = http_client.Limits(SECONDS, MAX_BYTES)
    with streaming_server(response) as address, suppress(http_client.RequestFailed):
        http_client.send("GET", f"http://{address}/", limits=limits)


def read_status(response: Bomb) -> None:
    from sandboxes.runtime.readiness import responds
    from tests.fakes.streaming_server import streaming_server

    with streaming_server(response) as address:
        responds("127.0.0.1", int(address.rpartition(":")[2]), "/", SECONDS)


def read_directory(make: Callable[[Path], None]) -> None:
    from sandboxes.runtime.directory_tree import measure, remove

    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory, "top")
        top.mkdir()
        make(top)
        measure(top, 2)
        remove(top, 60)


def read_json(source: bytes) -> None:
    from sandboxes.lib.untrusted_json import dumps_pretty, loads

    with suppress(ValueError):
        dumps_pretty(loads(source), 200_000)


def directories() -> Iterator[tuple[str, Callable[[Path], None]]]:
    yield "deep directories", lambda top: nest(top, 1200)
    yield "links", forest


def streams() -> Iterator[tuple[str, Bomb]]:
    from tests.fakes.streaming_server import RESPONSES

    yield from RESPONSES.items()


READERS: dict[str, tuple[Callable[[Any], None], Callable[[], Iterator[tuple[str, Any]]]]] = {
    "JSON": (read_json, lambda: iter(TEXT_BOMBS.items())),
    "OpenAPI document": (read_openapi, openapi_bombs),
    "explorer's response": (read_response, lambda: iter(TEXT_BOMBS.items())),
    "explorer's table": (read_list, page_bombs),
    "log": (read_log, lambda: iter(TEXT_BOMBS.items())),
    "engine's frames": (read_frames, lambda: iter(TEXT_BOMBS.items())),
    "HTTP client": (read_http, streams),
    "readiness": (read_status, streams),
    "directory": (read_directory, directories),
}


def memory_mb(field: str) -> float:
    """Return a field of this process's status: `VmRSS`, `VmHWM` or `VmData`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def feed(reader: Callable[[Any], None], bomb: Any) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # Makes the peak start again.
    before, began = memory_mb("VmRSS"), time.monotonic()
    error = ""
    try:
        reader(bomb)
    except BaseException as raised:  # noqa: BLE001 - any error is a failure of the reader
        error = f"{type(raised).__name__}: {str(raised)[:200]}"
    return {
        "error": error,
        "seconds": round(time.monotonic() - began, 3),
        "memory_mb": round(memory_mb("VmHWM") - before, 1),
    }


def main() -> None:
    import django

    django.setup()
    for reader, bombs in READERS.values():
        reader(next(bombs())[1])  # Imports and caches don't count.
    limit = int((memory_mb("VmData") + 2 * MEMORY_LIMIT_MB) * MB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for name, (reader, bombs) in READERS.items():
        for bomb_name, bomb in bombs():
            result = {"reader": name, "bomb": bomb_name} | feed(reader, bomb)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    main()
