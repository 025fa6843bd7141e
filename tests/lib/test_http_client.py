"""Requests to servers outside the portal's control."""

from __future__ import annotations

import pytest

from sandboxes.lib.http import client
from tests.fakes.friendbot import raw_server

INTERIM = b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * 8000 + b"\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMITS = client.Limits(5.0, 1024 * 1024)


def get(answer: bytes) -> client.Response:
    with raw_server(answer) as url:
        return client.send("GET", url, limits=LIMITS)


def test_what_comes_before_a_response_is_limited_as_its_framing_is() -> None:
    assert get(INTERIM * 10 + FINAL).body == b"ok"
    with pytest.raises(client.RequestFailed):
        get(INTERIM * 100 + FINAL)
