"""The tools of the MCP server. Their docstrings are written for models, which choose by them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from streams.agent import Agent, path_of
from streams.portal import Portal

LAUNCH_SECONDS = 120
RESET_SECONDS = 120
POLL_SECONDS = 0.5
MAX_ROWS = 100
MAX_TEXT = 40_000
"""Characters of one answer; more would fill the context of a model."""

Call = Context[Any, Any]
SandboxId = Annotated[str, Field(description="ID of the sandbox, such as sbx_0123456789abcdef.")]
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)


class Tools:
    """What agents can do. Each public method but `add_to` is a tool of the same name."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def add_to(self, server: MCPServer[Any]) -> None:
        """Register all tools."""
        reads = (
            *(self.list_blueprints, self.list_sandboxes, self.get_sandbox, self.get_credentials),
            *(self.describe_api, self.read_table, self.read_logs, self.list_events),
        )
        writes = (self.launch_sandbox, self.extend_sandbox)
        destroys = (self.call_api, self.reset_sandbox, self.end_sandbox)
        effects = ((READS, reads), (WRITES, writes), (DESTROYS, destroys))
        for effect, methods in effects:
            for method in methods:
                server.add_tool(method, annotations=effect)

    async def list_blueprints(self, context: Call) -> dict[str, Any]:
        """List what can be launched: names, what each contains, parameters and lifetimes.

        Call this first if the user asks for something other than the default sandbox.
        """
        agent = Agent(self._portal, context, "list_blueprints")
        found = (await agent.send("GET", "/blueprints"))["data"]
        names = ("name", "title", "description", "default", "parameters", "limits")
        return {
            "blueprints": [
                {name: one[name] for name in names if name in one}
                for one in found
                if one["can_launch"]
            ]
        }

    async def launch_sandbox(
        self,
        context: Call,
        blueprint: Annotated[
            str, Field(description="A name from list_blueprints; empty for the default one.")
        ] = "",
        parameters: Annotated[
            dict[str, str | int | bool] | None,
            Field(description="Parameters of the blueprint, such as the scenario of its data."),
        ] = None,
        ttl_minutes: Annotated[
            int | None, Field(description="Lifetime in minutes; the default suits most tasks.")
        ] = None,
        name: Annotated[str, Field(description="A label for the user, such as the task.")] = "",
    ) -> dict[str, Any]:
        """Launch a sandbox and wait until it is running, which takes a few seconds.

        Returns its id, which the other tools need, and the URLs of its endpoints. Reuse a running
        sandbox (list_sandboxes) if the user hasn't asked for a new one.
        """
        agent = Agent(self._portal, context, "launch_sandbox")
        given = {
            "blueprint": blueprint,
            "parameters": parameters,
            "ttl_minutes": ttl_minutes,
            "name": name,
        }
        body = {field: value for field, value in given.items() if value}
        launched = await agent.send(
            "POST", "/sandboxes", body, headers={"Idempotency-Key": str(uuid.uuid4())}
        )
        await agent.record(launched["id"])
        deadline = time.monotonic() + LAUNCH_SECONDS
        while launched["state"] in ("pending", "provisioning"):
            if time.monotonic() > deadline:
                raise ToolError(f"{launched['id']} isn't running yet. Check it with get_sandbox.")
            # No thread of the portal waits meanwhile.
            await asyncio.sleep(POLL_SECONDS)
            launched = await agent.send("GET", path_of(launched["id"]))
        if launched["state"] != "running":
            raise ToolError(launched.get("end_message") or f"The sandbox is {launched['state']}.")
        return _shown(launched)

    async def list_sandboxes(self, context: Call) -> dict[str, Any]:
        """List the user's sandboxes that are running or starting, newest first."""
        agent = Agent(self._portal, context, "list_sandboxes")
        query = urlencode([("state", one) for one in ("pending", "provisioning", "running")])
        found = (await agent.send("GET", f"/sandboxes?{query}"))["data"]
        return {"sandboxes": [_shown(one) for one in found]}

    async def get_sandbox(self, context: Call, sandbox_id: SandboxId) -> dict[str, Any]:
        """Return the state of a sandbox, its deadlines, the URLs of its endpoints and problems."""
        agent = Agent(self._portal, context, "get_sandbox")
        return _shown(await agent.use(sandbox_id, "GET"))

    async def get_credentials(self, context: Call, sandbox_id: SandboxId) -> dict[str, str | None]:
        """Return keys and passwords of a sandbox, for code that you run outside of this server.

        call_api needs none of them. The token must have the scope “all”.
        """
        agent = Agent(self._portal, context, "get_credentials")
        found: dict[str, str | None] = await agent.use(sandbox_id, "GET", "/credentials")
        return found

    async def describe_api(
        self,
        context: Call,
        sandbox_id: SandboxId,
        operation: Annotated[
            str, Field(description="An operation's id, for its parameters and an example body.")
        ] = "",
    ) -> dict[str, Any]:
        """Describe the API inside a sandbox: its operations, or one of them in detail.

        Without `operation`, each line has an id, method, path and summary. Ask for one operation
        before the first call of it that has a body.
        """
        agent = Agent(self._portal, context, "describe_api")
        query = {"operation": operation} if operation else None
        found = await agent.use(sandbox_id, "GET", "/operations", query=query, summary=operation)
        if operation:
            return {"operation": found["data"][0]}
        lines = [
            f"{one['id']}: {one['method']} {one['path']} - {one['summary']}"
            for one in found["data"]
        ]
        tables = [_table_of(one["path"]) for one in found["data"] if one["is_list"]]
        return {"title": found["title"], "operations": lines, "tables": tables}

    async def call_api(
        self,
        context: Call,
        sandbox_id: SandboxId,
        method: Annotated[str, Field(description="GET, POST, PUT, PATCH or DELETE.")],
        path: Annotated[
            str, Field(description="Path and query, such as /v1/orders?status=open&limit=20.")
        ],
        body: Annotated[
            dict[str, Any] | list[Any] | None, Field(description="JSON body, if there is one.")
        ] = None,
    ) -> dict[str, Any]:
        """Send a request to the API inside a sandbox, with its key, and return the response.

        Authentication is added for you. The response has `status` and `body`; a status of 400 or
        more is an answer of that API, whose body says what is wrong with the request.
        """
        agent = Agent(self._portal, context, "call_api")
        asked = {"method": method.upper(), "path": path}
        if body is not None:
            asked["body"] = json.dumps(body)
        # Queries and bodies may contain personal data.
        summary = f"{asked['method']} {path.partition('?')[0]}"
        answer = await agent.use(sandbox_id, "POST", "/requests", asked, summary=summary)
        return {"status": answer["status"], "body": _parsed(answer["body"])}

    async def read_table(
        self,
        context: Call,
        sandbox_id: SandboxId,
        table: Annotated[str, Field(description="A name from `tables` of describe_api.")],
        filters: Annotated[
            dict[str, str] | None,
            Field(description="Query parameters of its list, such as {'status': 'failed'}."),
        ] = None,
        limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 20,
        cursor: Annotated[str, Field(description="`next_cursor` of the previous page.")] = "",
    ) -> dict[str, Any]:
        """Read rows of a table in a sandbox: the quickest way to look at its data."""
        agent = Agent(self._portal, context, "read_table")
        found = await agent.send("GET", f"{path_of(sandbox_id)}/operations")
        paths = {_table_of(one["path"]): one["path"] for one in found["data"] if one["is_list"]}
        if table not in paths:
            raise ToolError(f"Unknown table {table}. Choose one of: {', '.join(paths)}.")
        query = {**(filters or {}), "limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        asked = {"method": "GET", "path": f"{paths[table]}?{urlencode(query)}"}
        answer = await agent.use(sandbox_id, "POST", "/requests", asked, summary=table)
        page = _parsed(answer["body"])
        if answer["status"] != HTTPStatus.OK or not isinstance(page, dict):
            raise ToolError(f"The sandbox returned {answer['status']}: {_cut(str(page))}")
        return {"rows": page.get("data"), "next_cursor": page.get("next_cursor")}

    async def read_logs(
        self,
        context: Call,
        sandbox_id: SandboxId,
        service: Annotated[str, Field(description="Such as api or db; required while it runs.")],
        lines: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> str:
        """Return the last log lines of a service in a sandbox; secrets are left out."""
        agent = Agent(self._portal, context, "read_logs")
        query: dict[str, str | int] = {"service": service, "tail": lines}
        found = await agent.use(sandbox_id, "GET", "/logs", query=query, summary=service)
        return _cut(found["text"])

    async def list_events(
        self,
        context: Call,
        sandbox_id: SandboxId,
        source: Annotated[
            str,
            Field(
                pattern="^(api|activity)$",
                description="`api`: events that the API inside reports to webhooks. `activity`: "
                "what users, agents and the portal did with the sandbox.",
            ),
        ] = "api",
        after: Annotated[str, Field(description="`cursor` of the previous answer.")] = "",
    ) -> dict[str, Any]:
        """List events of a sandbox, oldest first: those of its API, or its activity log."""
        agent = Agent(self._portal, context, "list_events")
        if source == "api":
            query = {"after": after} if after else None
            page = await agent.use(sandbox_id, "GET", "/inbox", query=query, summary=source)
            events = [{"type": one["type"], "payload": one["payload"]} for one in page["data"]]
            return {"events": events, "cursor": page["cursor"], "has_more": page["has_more"]}
        query = {"cursor": after} if after else None
        page = await agent.use(sandbox_id, "GET", "/events", query=query, summary=source)
        return {
            "events": [
                {name: one[name] for name in ("at", "kind", "by", "message")}
                for one in page["data"]
            ],
            "cursor": page["next_cursor"],
            "has_more": page["has_more"],
        }

    async def reset_sandbox(self, context: Call, sandbox_id: SandboxId) -> dict[str, Any]:
        """Restore the seed data of a sandbox and wait for it. All changes in it are lost.

        URLs and credentials stay the same.
        """
        agent = Agent(self._portal, context, "reset_sandbox")
        found = await agent.use(sandbox_id, "POST", "/reset")
        deadline = time.monotonic() + RESET_SECONDS
        while found["reset_pending"]:
            if time.monotonic() > deadline:
                raise ToolError("The reset isn't complete yet. Check it with get_sandbox.")
            await asyncio.sleep(POLL_SECONDS)
            found = await agent.send("GET", path_of(sandbox_id))
        return _shown(found)

    async def extend_sandbox(
        self,
        context: Call,
        sandbox_id: SandboxId,
        minutes: Annotated[int, Field(ge=1, description="How much longer it lives.")],
    ) -> dict[str, Any]:
        """Extend the lifetime of a sandbox. This is possible once."""
        agent = Agent(self._portal, context, "extend_sandbox")
        body = {"minutes": minutes}
        granted = await agent.use(sandbox_id, "POST", "/extensions", body)
        return _shown(granted["sandbox"])

    async def end_sandbox(self, context: Call, sandbox_id: SandboxId) -> dict[str, Any]:
        """End a sandbox and delete its data, so that the user can launch another one."""
        agent = Agent(self._portal, context, "end_sandbox")
        return _shown(await agent.use(sandbox_id, "DELETE"))


def _shown(sandbox: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model needs to know about a sandbox."""
    names = (
        "id name blueprint state summary endpoints parameters expires_at ends_at hard_cap_at"
        " reset_pending problem end_message advice"
    )
    return {name: sandbox[name] for name in names.split() if sandbox.get(name) not in (None, "")}


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n… ({len(text) - MAX_TEXT} more characters; ask for less)"


def _table_of(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _parsed(text: str) -> Any:
    """Return JSON as such, and anything else, also JSON that is too long, as text."""
    if len(text) > MAX_TEXT:
        return _cut(text)
    try:
        return json.loads(text)
    except ValueError:
        return text
