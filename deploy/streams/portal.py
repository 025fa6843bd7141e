"""Requests to the portal's API, on behalf of the client that is connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import httpx2

from streams.settings import Settings

API = "/api/v1"
SECONDS = 60
CONNECT_SECONDS = 5
FORWARDED = ("x-forwarded-for", "x-request-id")
"""Headers of proxies that are passed on, as if the client had called the portal."""


class PortalAway(Exception):
    """The portal doesn't answer; it may be restarting."""


class Portal:
    """The web process of the portal."""

    def __init__(self, settings: Settings) -> None:
        scheme = {"X-Forwarded-Proto": settings.scheme}
        self._http = httpx2.AsyncClient(
            base_url=settings.portal_url,
            headers={"Host": settings.host, "User-Agent": "sandbox-portal-streams/1", **scheme},
            timeout=httpx2.Timeout(SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request and return its response, errors included. Raises PortalAway."""
        try:
            return await self._http.request(
                method, path, json=body, params=query, headers=dict(headers or {})
            )
        except httpx2.HTTPError as error:
            raise PortalAway("The portal doesn't answer. Try again shortly.") from error


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request that are passed on to the portal."""
    return {name: headers[name] for name in FORWARDED if name in headers}


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of a request; empty if it has none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
