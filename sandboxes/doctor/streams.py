"""The process `streams`: whether it responds here, and at its public address."""

from __future__ import annotations

import ssl

import httpx2
from django.conf import settings

from sandboxes.doctor.findings import Findings, error, ok, warning

SECONDS = 5
SEE_DOCS = "docs/operations.md#processes says how to start it."


def streams() -> Findings:
    """Ask the process for its health, and its public address for a stream."""
    if not settings.STREAMS_URL:
        yield ok("Event streams and agents aren't offered (STREAMS_URL is empty).")
        return
    try:
        own = f"http://127.0.0.1:{settings.STREAMS_PORT}/healthz"
        connections = httpx2.get(own, timeout=SECONDS).raise_for_status().json()["connections"]
    except (httpx2.HTTPError, ValueError, KeyError):
        # It may run on another machine, or listen on another address of this one.
        yield warning(f"No process “streams” on port {settings.STREAMS_PORT}.", SEE_DOCS)
    else:
        yield ok(f"The process “streams” holds {connections} event streams.")
    url = f"{settings.STREAMS_URL}/streams/events"
    try:
        answer = httpx2.get(url, timeout=SECONDS, verify=ssl.create_default_context())
    except httpx2.HTTPError as failure:
        yield error(f"{url} can't be reached ({failure}).", SEE_DOCS)
        return
    if answer.status_code != httpx2.codes.UNAUTHORIZED:
        text = f"{url} returned {answer.status_code} instead of 401 without a token."
        yield error(text, "Let the proxy route this path to the process “streams”.")
    else:
        yield ok(f"{url} reaches it.")
