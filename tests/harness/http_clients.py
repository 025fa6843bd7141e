"""A TLS context that all HTTP clients of the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import httpcore2
import pytest


@pytest.fixture(scope="session", autouse=True)
def _shared_tls_context() -> Iterator[None]:
    """Load the certificate authorities once.

    Each client loads them, even for plain HTTP, which takes 20 ms of CPU time, and tests that wait
    for a portal create a client for each request.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield
