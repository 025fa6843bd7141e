"""The ASGI application: event streams, the MCP server, and a health check for this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streams import events, mcp_server
from streams.portal import Portal
from streams.settings import Settings, read


class State(TypedDict):
    """What requests share."""

    hub: events.Hub


def healthz(request: Request) -> Response:
    """Return 200 if the process responds, with the number of connections."""
    hub: events.Hub = request.state.hub
    return JSONResponse({"status": "ok", "connections": hub.size})


def create_app(settings: Settings) -> Starlette:
    """Return the application."""
    portal = Portal(settings)
    server = mcp_server.create_server(portal, settings)
    mcp = mcp_server.Guard(mcp_server.create_app(server, settings), portal, settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(portal)
            await stack.enter_async_context(server.session_manager.run())
            hub = events.Hub(portal)
            reading = asyncio.create_task(hub.run())
            try:
                yield {"hub": hub}
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading

    routes = [Route("/healthz", healthz), Route("/streams/events", events.stream)]
    if settings.mcp_enabled:
        routes.append(Route("/mcp", mcp))
    return Starlette(routes=routes, lifespan=lifespan)


application = create_app(read())
