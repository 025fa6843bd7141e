"""The MCP server: sandboxes as tools for agents, through the portal's API.

Nothing is kept between two requests, so a restart doesn't matter.
"""

from __future__ import annotations

import hashlib
import time
from http import HTTPStatus
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from streams.portal import API, Portal, PortalAway, bearer, forwarded
from streams.problems import problem
from streams.settings import Settings
from streams.tools import Tools

CHECKED_SECONDS = 30
"""How long a token counts as valid after a check; the API checks it again for each request."""
MAX_CHECKED = 1000

INSTRUCTIONS = """\
This server gives you sandboxes: private, disposable copies of an API with its own database and \
seed data. Nothing in them is real, so you may create, change and delete anything.

A typical session: launch_sandbox, then describe_api to learn its operations, then call_api and \
read_table to work with it. reset_sandbox restores the seed data. end_sandbox when you are done: \
users have few sandboxes at once, and they end automatically after their lifetime.

Every call is recorded in the activity log of the sandbox, which its owner sees.\
"""


def create_server(portal: Portal, settings: Settings) -> MCPServer[Any]:
    """Return the server with its tools."""
    server: MCPServer[Any] = MCPServer(
        "sandbox-portal",
        title=settings.portal_name,
        instructions=INSTRUCTIONS,
        website_url=f"{settings.site_url}/docs/mcp/",
        log_level="WARNING",
    )
    Tools(portal).add_to(server)
    return server


class Guard:
    """Middleware that admits only requests with a valid token; others learn that they need one."""

    def __init__(self, app: ASGIApp, portal: Portal, settings: Settings) -> None:
        self._app = app
        self._portal = portal
        self._challenge = {"WWW-Authenticate": f'Bearer realm="{settings.site_url}"'}
        self._checked: dict[str, float] = {}
        """When each token was last found valid, by its hash."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        headers = Headers(scope=scope)
        status, detail = await self._refusal(headers)
        if status == HTTPStatus.OK:
            await self._app(scope, receive, send)
            return
        extra = self._challenge if status == HTTPStatus.UNAUTHORIZED else {}
        await problem(status, detail, headers=extra)(scope, receive, send)

    async def _refusal(self, headers: Headers) -> tuple[int, str]:
        token = bearer(headers)
        if not token:
            return 401, "Send an API token of the portal as “Authorization: Bearer sbp_…”."
        key, now = hashlib.sha256(token.encode()).hexdigest(), time.monotonic()
        if now - self._checked.get(key, -CHECKED_SECONDS) < CHECKED_SECONDS:
            return 200, ""
        own = {"Authorization": f"Bearer {token}", **forwarded(headers)}
        try:
            answer = await self._portal.send("GET", f"{API}/limits", headers=own)
            answered = answer.json()
        except (PortalAway, ValueError):
            return 503, "The portal doesn't answer. Try again in a few seconds."
        if answer.status_code != HTTPStatus.OK:
            return answer.status_code, answered.get("detail", "")
        if len(self._checked) >= MAX_CHECKED:
            self._checked.clear()
        self._checked[key] = now
        return 200, ""


def create_app(server: MCPServer[Any], settings: Settings) -> Starlette:
    """Return the server as an application whose only path is `/mcp`.

    Requests from pages of other sites are refused by their `Origin`.
    """
    security = TransportSecuritySettings(
        allowed_hosts=sorted(settings.hosts), allowed_origins=sorted(settings.origins)
    )
    return server.streamable_http_app(
        stateless_http=True, json_response=True, transport_security=security
    )
