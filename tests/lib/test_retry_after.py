"""`Retry-After` in both of its forms, bounded, and without effect if it is invalid."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone
from django.utils.http import http_date

from sandboxes.lib.http.retry_after import parse_retry_after

if TYPE_CHECKING:
    from tests.conftest import Clock

LONGEST = timedelta(hours=1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("3601", 3600),
        ("9" * 5000, 3600),
        ("-1", 0),
        ("1.5", 0),
        ("1e3", 0),
        ("\u0661\u0662", 0),
        ("", 0),
        ("soon", 0),
        ("Mon, 99 Foo 2026 99:99:99 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
    ],
)
def test_a_delay_is_bounded(value: str, seconds: int) -> None:
    assert parse_retry_after(value, LONGEST) == timedelta(seconds=seconds)


def test_a_date_is_a_delay_from_now(clock: Clock) -> None:
    now = timezone.now()
    delay = parse_retry_after(http_date(now.timestamp() + 90), LONGEST)
    assert timedelta(seconds=89) <= delay <= timedelta(seconds=90)
