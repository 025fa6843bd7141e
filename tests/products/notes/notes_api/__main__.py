"""An API for notes, of the standard library only."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NOTE = {
    "type": "object",
    "required": ["text"],
    "properties": {"id": {"type": "integer"}, "text": {"type": "string", "example": "Buy milk"}},
}
PARAMETERS = [
    {
        "name": name,
        "in": "header",
        "required": required,
        "schema": {"type": "string"},
        "example": "acme",
    }
    for name, required in (("X-Team", True), ("X-Api-Key", True))
]


def operation(name: str, summary: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": PARAMETERS,
        "responses": answer,
    } | more


BODY = {"required": True, "content": {"application/json": {"schema": NOTE}}}
LIST = {"type": "object", "properties": {"data": {"type": "array", "items": NOTE}}}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Notes API", "version": "1"},
    "paths": {
        "/notes": {
            "get": operation("listNotes", "List notes", LIST),
            "post": operation("addNote", "Add a note", NOTE, requestBody=BODY),
        }
    },
}


class Handler(BaseHTTPRequestHandler):
    key = ""
    notes: list[dict[str, Any]]

    def do_GET(self) -> None:
        answers = {"/healthz": {"status": "ok"}, "/openapi.json": DOCUMENT}
        if self.path in answers:
            self.answer(200, answers[self.path])
        elif self.may_pass():
            self.answer(200, {"data": self.notes})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.may_pass():
            self.notes.append({"id": len(self.notes) + 1, "text": sent["text"]})
            self.answer(200, self.notes[-1])

    def may_pass(self) -> bool:
        """Return whether the request has the key; otherwise answer 401."""
        if self.headers.get("X-Api-Key") == self.key and "Authorization" not in self.headers:
            return True
        self.answer(401, {"error": "Send the header X-Api-Key, and nothing else."})
        return False

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def server(key: str, port: int = 0) -> ThreadingHTTPServer:
    """Return a server with three notes."""
    notes = [{"id": number, "text": f"Note {number}"} for number in (1, 2, 3)]
    handler = type("Notes", (Handler,), {"key": key, "notes": notes})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


if __name__ == "__main__":
    server(os.environ["ACCESS_KEY"], int(os.environ["PORT"])).serve_forever()
