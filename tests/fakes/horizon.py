"""A fake Horizon: a real HTTP server on this machine that answers as Horizon's documentation says.

https://developers.stellar.org/docs/data/apis/horizon/api-reference/get-payments-by-account-id
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.helpers.servers import serving

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


class Horizon(ThreadingHTTPServer):
    """Knows the payments that tests add; `status` replaces all answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.records: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def pay(self, destination: str, amount: str, memo: str = "", **changes: Any) -> str:
        """Add a payment in XLM, and return the hash of its transaction."""
        number = len(self.records) + 1
        transaction = f"{number:064x}"
        memo_of = {"memo": memo, "memo_type": "text"} if memo else {"memo_type": "none"}
        record = {
            "_links": {"transaction": {"href": f"{self.url}/transactions/{transaction}"}},
            "id": str(120192452960257 + number),
            "paging_token": str(120192452960257 + number),
            "transaction_successful": True,
            "source_account": "GCKICEQ2SA3KWH3UMQFJE4BFXCBFHW46BCVJBRCLK76ZY5RO6TY5D7Q2",
            "type": "payment",
            "type_i": 1,
            "created_at": f"2026-11-29T12:00:{number:02}Z",
            "transaction_hash": transaction,
            "transaction": {"id": transaction, "hash": transaction, "successful": True, **memo_of},
            "asset_type": "native",
            "from": "GCKICEQ2SA3KWH3UMQFJE4BFXCBFHW46BCVJBRCLK76ZY5RO6TY5D7Q2",
            "to": destination,
            "amount": amount,
        }
        self.records.append(record | changes)
        return transaction

    def answer(self, target: str) -> tuple[int, dict[str, Any]]:
        url = urlsplit(target)
        _, kind, key, _ = url.path.split("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        own = ("from", "to") if kind == "accounts" else ("transaction_hash",)
        found = [one for one in self.records if key in [one[name] for name in own]]
        if self.status != 200 or (kind == "transactions" and not found):
            status = self.status if self.status != 200 else 404
            kind_of = "https://stellar.org/horizon-errors/not_found"
            return status, {"type": kind_of, "title": "Resource Missing", "status": status}
        if query.get("order") == "desc":
            found.reverse()
        joined = query.get("join") == "transactions"
        left_out = set() if joined else {"transaction"}
        records = [{k: v for k, v in one.items() if k not in left_out} for one in found]
        limit = int(query.get("limit", "10"))
        return 200, {"_links": {}, "_embedded": {"records": records[:limit]}}


class Handler(BaseHTTPRequestHandler):
    server: Horizon

    def do_GET(self) -> None:
        status, body = self.server.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "application/hal+json; charset=utf-8")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def horizon(settings: SettingsWrapper) -> Iterator[Horizon]:
    with Horizon() as server:
        settings.HORIZON_URL = server.url
        with serving(server):
            yield server
