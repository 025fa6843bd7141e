"""The MCP server, with the official client."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from sandboxes.models import Event, EventKind, Scope
from tests.fakes.sandbox_api import SandboxApi, with_api_address
from tests.harness.portal import running_portal
from tests.harness.ports import reserve_port
from tests.helpers.scenarios import launch
from tests.streams.conftest import running

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TokenOf = Callable[["User", Scope], str]
TOOLS = {
    *("list_blueprints", "launch_sandbox", "list_sandboxes", "get_sandbox", "get_credentials"),
    *("describe_api", "call_api", "read_table", "read_logs", "list_events"),
    *("reset_sandbox", "extend_sandbox", "end_sandbox"),
}
GUIDE = Path(__file__).parents[2] / "docs" / "mcp.md"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


class Session:
    """A client's session, whose calls return what a model gets."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        result = await self.client.call_tool(tool, arguments)
        text = "".join(part.text for part in result.content if part.type == "text")
        if result.is_error:
            raise AssertionError(text)
        return json.loads(text) if text.startswith(("{", "[")) else text

    async def refusal(self, tool: str, **arguments: Any) -> str:
        with pytest.raises(AssertionError) as refused:
            await self.call(tool, **arguments)
        return str(refused.value)


@asynccontextmanager
async def session(url: str, token: str) -> AsyncIterator[Session]:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60)
    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        yield Session(client)


def run(work: Any) -> Any:
    # In a thread, since the browser of other tests leaves an event loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@pytest.mark.slow
def test_an_agent_finds_a_failed_invoice_pays_it_resets_and_ends(tmp_path: Path) -> None:
    port = str(reserve_port())
    with running_portal(
        tmp_path,
        ("web", "worker", "streams"),
        SANDBOX_RUNTIME="process",
        STREAMS_PORT=port,
        STREAMS_URL=f"http://127.0.0.1:{port}",
    ) as portal:
        token = portal.accounts["developer"]["token"]
        root = portal.client("developer").get("").json()

        async def work() -> None:
            async with session(root["mcp"], token) as agent:
                assert {tool.name for tool in (await agent.client.list_tools()).tools} == TOOLS
                launched = await agent.call("launch_sandbox", name="by an agent")
                sandbox = {"sandbox_id": launched["id"]}
                api = await agent.call("describe_api", **sandbox)
                assert "invoices" in api["tables"]
                pay = next(line.split(":")[0] for line in api["operations"] if "/pay " in line)
                detail = await agent.call("describe_api", operation=pay, **sandbox)
                path = detail["operation"]["path"]

                payments = await agent.call(
                    "read_table", table="payments", filters={"status": "failed"}, **sandbox
                )
                open_invoices = await agent.call(
                    "read_table", table="invoices", filters={"status": "open"}, **sandbox
                )
                unpaid = {row["invoice_id"] for row in payments["rows"]}
                invoice = next(one for one in open_invoices["rows"] if one["id"] in unpaid)
                target = path.replace("{invoice_id}", invoice["id"]).replace("{id}", invoice["id"])
                paid = await agent.call(
                    "call_api",
                    method="POST",
                    path=target,
                    body=json.loads(detail["operation"]["details"]["example_body"] or "{}"),
                    **sandbox,
                )
                assert paid["status"] in (200, 201), paid
                read = {"method": "GET", "path": f"/v1/invoices/{invoice['id']}"}
                assert (await agent.call("call_api", **read, **sandbox))["body"]["status"] == "paid"

                await agent.call("reset_sandbox", **sandbox)
                assert (await agent.call("call_api", **read, **sandbox))["body"]["status"] == "open"
                activity = await agent.call("list_events", source="activity", **sandbox)
                said = [one["message"] for one in activity["events"] if "Agent" in one["message"]]
                assert any(f"calls call_api: POST {target}" in one for one in said)
                assert "sk_test_" not in await agent.call("read_logs", service="api", **sandbox)
                ended = await agent.call("end_sandbox", **sandbox)
                assert ended["state"] in ("destroying", "destroyed")

        run(work())


@pytest.mark.django_db(transaction=True)
def test_tools_have_the_rights_of_the_token_and_are_recorded(
    alice: User, bob: User, streams: str, token_of: TokenOf, api: SandboxApi
) -> None:
    sandbox = with_api_address(launch(alice), api.address)
    own = {"sandbox_id": sandbox.public_id}
    foreign = {"sandbox_id": launch(bob).public_id}
    tokens = {scope: token_of(alice, scope) for scope in Scope}

    async def work() -> None:
        async with session(f"{streams}/mcp", tokens[Scope.READ]) as agent:
            assert (await agent.call("get_sandbox", **own))["state"] == "running"
            assert "not yours" in await agent.refusal("get_sandbox", **foreign)
            assert "launch" in await agent.refusal("end_sandbox", **own)
            assert "launch" in await agent.refusal("call_api", method="GET", path="/", **own)
        async with session(f"{streams}/mcp", tokens[Scope.LAUNCH]) as agent:
            assert "all" in await agent.refusal("get_credentials", **own)
            await agent.call("extend_sandbox", minutes=10, **own)
            assert "once" in await agent.refusal("extend_sandbox", minutes=10, **own)
        async with session(f"{streams}/mcp", tokens[Scope.ALL]) as agent:
            assert (await agent.call("get_credentials", **own))["api_key"]

    run(work())
    calls = Event.objects.filter(sandbox=sandbox, kind=EventKind.AGENT_CALL)
    assert [event.data["tool"] for event in calls] == [
        *("get_sandbox", "end_sandbox", "call_api", "get_credentials"),
        *("extend_sandbox", "extend_sandbox", "get_credentials"),
    ]
    assert {event.actor_role for event in calls} == {"owner"}


@pytest.mark.django_db(transaction=True)
def test_the_program_in_the_documentation_lists_the_tools(
    alice: User, streams: str, token_of: TokenOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_of(alice, Scope.READ)
    monkeypatch.setenv("MCP_URL", f"{streams}/mcp")
    [program] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    printed: list[list[str]] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(exec, program, {"print": printed.append}).result()
    assert set(printed[0]) == TOOLS
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`", GUIDE.read_text())) == TOOLS


@pytest.mark.django_db(transaction=True)
def test_requests_without_a_token_or_from_other_sites_are_refused(
    alice: User, streams: str, token_of: TokenOf
) -> None:
    def post(**headers: str) -> httpx2.Response:
        return httpx2.post(f"{streams}/mcp", json=INITIALIZE, headers={**ACCEPT, **headers})

    authorized = {"Authorization": f"Bearer {token_of(alice, Scope.READ)}"}
    anonymous = post()
    assert (anonymous.status_code, "Bearer" in anonymous.headers["www-authenticate"]) == (401, True)
    assert post(Authorization="Bearer sbp_wrong").status_code == 401
    assert post(**authorized).status_code == 200
    assert post(Origin=streams, **authorized).status_code == 200
    assert post(Origin="https://evil.example", **authorized).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_operators_can_switch_agents_off(
    alice: User, streams: str, token_of: TokenOf, settings: Any, live_server: Any
) -> None:
    token = token_of(alice, Scope.ALL)
    own = {"sandbox_id": launch(alice).public_id}
    settings.MCP_ENABLED = False  # The web process was restarted first.
    assert "mcp" not in httpx2.get(f"{live_server.url}/api/v1").json()

    async def work() -> str:
        async with session(f"{streams}/mcp", token) as agent:
            return await agent.refusal("get_sandbox", **own)

    assert "don't allow agents" in run(work())
    with running(STREAMS_PORTAL_URL=live_server.url, MCP_ENABLED="off") as url:
        assert httpx2.post(f"{url}/mcp", json=INITIALIZE).status_code == 404
