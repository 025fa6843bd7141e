"""A small API with bearer authentication; replace it by your own."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8000
PRODUCTS = [
    {"id": 1, "name": "Espresso"},
    {"id": 2, "name": "Cappuccino"},
    {"id": 3, "name": "Filter coffee"},
]


class Handler(BaseHTTPRequestHandler):
    """Answers `GET /products`, `POST /products` and `GET /healthz`."""

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(200, {"status": "ok"})
        elif self._is_allowed():
            self._answer(200, PRODUCTS)

    def do_POST(self) -> None:
        if self._is_allowed():
            length = int(self.headers.get("Content-Length") or 0)
            product = {"id": len(PRODUCTS) + 1, **json.loads(self.rfile.read(length))}
            PRODUCTS.append(product)
            self._answer(201, product)

    def _is_allowed(self) -> bool:
        """Answer with an error, and return False, without a valid key or path."""
        if self.path != "/products":
            self._answer(404, {"error": "not found"})
        elif self.headers.get("Authorization") != f"Bearer {os.environ['API_KEY']}":
            self._answer(401, {"error": "invalid API key"})
        else:
            return True
        return False

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
