"""One call of an agent: requests to the portal's API, recorded in the sandbox's activity log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from streams.portal import API, Portal, PortalAway, bearer, forwarded

UNKNOWN_AGENT = "unknown"
MAX_NAME, MAX_SUMMARY = 100, 300


class Agent:
    """The API on behalf of one call of a tool."""

    def __init__(self, portal: Portal, context: Context[Any, Any], tool: str) -> None:
        self._portal = portal
        self._tool = tool
        headers = {name.lower(): value for name, value in (context.headers or {}).items()}
        self._headers = {"Authorization": f"Bearer {bearer(headers)}", **forwarded(headers)}
        self.name = _name(context, headers)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON of the API's response. Raises ToolError with what the API says."""
        try:
            response = await self._portal.send(
                method,
                f"{API}{path}",
                body=body,
                query=query,
                headers={**self._headers, **(headers or {})},
            )
            data = response.json()
        except (PortalAway, ValueError) as error:
            raise ToolError("The portal doesn't answer. Try again in a few seconds.") from error
        if response.is_success:
            return data
        wait = response.headers.get("retry-after")
        hint = f" Try again in {wait} s." if wait else ""
        raise ToolError(f"{data.get('detail', f'Status {response.status_code}.')}{hint}")

    async def record(self, sandbox_id: str, summary: str = "") -> None:
        """Record the call in the sandbox's activity log. Raises ToolError."""
        call = {"agent": self.name, "tool": self._tool, "summary": summary[:MAX_SUMMARY]}
        await self.send("POST", f"{path_of(sandbox_id)}/agent-calls", call)

    async def use(
        self,
        sandbox_id: str,
        method: str,
        part: str = "",
        body: Any = None,
        query: Mapping[str, str | int] | None = None,
        summary: str = "",
    ) -> Any:
        """Record the call, then send a request about a sandbox. Raises ToolError."""
        await self.record(sandbox_id, summary)
        return await self.send(method, f"{path_of(sandbox_id)}{part}", body, query)


def path_of(sandbox_id: str) -> str:
    """Return the path of a sandbox in the API."""
    return f"/sandboxes/{quote(sandbox_id, safe='')}"


def _name(context: Context[Any, Any], headers: Mapping[str, str]) -> str:
    """Return the name that the client states, which isn't verified."""
    client = context.request_context.session.client_params
    told = f"{client.client_info.name} {client.client_info.version}" if client else ""
    name = "".join(one for one in told or headers.get("user-agent", "") if one.isprintable())
    return name.strip()[:MAX_NAME] or UNKNOWN_AGENT
