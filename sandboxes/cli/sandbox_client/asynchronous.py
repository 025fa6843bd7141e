"""The client for programs with `asyncio`. Methods are those of the synchronous client."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Self

import httpx2

from sandbox_client import errors, event_stream, protocol, sign_in
from sandbox_client.event_stream import PortalEvent
from sandbox_client.protocol import Call, SandboxData
from sandbox_client.synchronous import DEFAULT_LAUNCH_SECONDS, POLL_SECONDS, RESET_SECONDS


class AsyncClient:
    """A user's access to a portal; see `Client`."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, ca_file: str | None = None
    ) -> None:
        found = sign_in.current(url, token)
        self.url, self.token = found.url, found.token
        self._http = httpx2.AsyncClient(
            base_url=found.url,
            headers=protocol.headers(found.token),
            verify=protocol.ssl_context(ca_file),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call) -> Any:
        """Send a request to the API and return the JSON of its response."""
        try:
            response = await self._http.request(
                call.method,
                call.url,
                json=call.body,
                params=call.query,
                headers=call.headers,
                timeout=protocol.timeout(call),
            )
        except httpx2.HTTPError as error:
            raise errors.PortalUnreachable(protocol.unreachable(self.url, error)) from error
        return protocol.parse_response(response)

    async def launch(
        self,
        blueprint: str | None = None,
        *,
        wait: float = DEFAULT_LAUNCH_SECONDS,
        name: str | None = None,
        ttl_minutes: int | None = None,
        parameters: Mapping[str, str | int | bool] | None = None,
        metadata: Mapping[str, str] | None = None,
        save_point: str | None = None,
        heartbeat_seconds: int | None = None,
    ) -> AsyncSandbox:
        """Launch a sandbox and wait up to `wait` seconds until it is running."""
        call = protocol.launch(
            blueprint,
            name=name,
            ttl_minutes=ttl_minutes,
            parameters=parameters,
            metadata=metadata,
            save_point=save_point,
            heartbeat_seconds=heartbeat_seconds,
            idempotency_key=str(uuid.uuid4()),
            wait=wait,
        )
        try:
            sandbox = AsyncSandbox(self, await self._send_twice(call))
        except errors.SandboxError:
            raise
        except BaseException:  # A cancellation: the portal may have launched it already.
            await self._undo(call)
            raise
        if heartbeat_seconds:
            sandbox.start_heartbeat(heartbeat_seconds)
        if wait > 0:
            try:
                await sandbox.wait_until_running(wait)
            except errors.LaunchFailed:
                raise
            except BaseException:  # Also a cancellation: the caller has no handle yet.
                await sandbox.destroy()
                raise
        return sandbox

    async def _send_twice(self, call: Call) -> Any:
        """Send a request with an idempotency key again if no answer came."""
        try:
            return await self.send(call)
        except errors.PortalUnreachable:
            return await self.send(call)

    async def _undo(self, call: Call) -> None:
        """Destroy the sandbox of a launch whose response didn't arrive."""
        with suppress(errors.SandboxError):
            await AsyncSandbox(self, await self.send(protocol.without_waiting(call))).destroy()

    async def sandboxes(
        self, *states: str, metadata: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncSandbox]:
        """Yield the sandboxes in these states (in any, without), newest first."""
        cursor = ""
        while True:
            page = await self.send(protocol.list_sandboxes(states, metadata, cursor))
            for data in page["data"]:
                yield AsyncSandbox(self, data)
            if not page["has_more"]:
                return
            cursor = page["next_cursor"]

    async def sandbox(self, sandbox_id: str) -> AsyncSandbox:
        """Return a sandbox. Raises NotFound."""
        return AsyncSandbox(self, await self.send(protocol.of_sandbox("GET", sandbox_id)))

    async def blueprints(self) -> list[dict[str, Any]]:
        """Return the blueprints that can be launched, with their parameters and limits."""
        return list((await self.send(Call("GET", "/blueprints")))["data"])

    async def save_points(self) -> list[dict[str, Any]]:
        """Return the user's save points, newest first."""
        query = (("limit", str(protocol.PAGE_SIZE)),)
        return list((await self.send(Call("GET", "/save-points", query=query)))["data"])

    async def limits(self) -> dict[str, Any]:
        """Return the limits of the user, and when the next slot opens."""
        return dict(await self.send(Call("GET", "/limits")))

    async def events(
        self,
        sandbox_id: str | None = None,
        *,
        replay_minutes: int = 0,
        on_retry: Callable[[errors.SandboxError], None] = lambda _: None,
    ) -> AsyncIterator[PortalEvent]:
        """Yield events of the portal and of sandboxes as they happen; see `Client.events`."""
        position = event_stream.Position(sandbox_id, replay_minutes)
        while True:
            try:
                async for event in self._connect(position):
                    yield event
                error: errors.SandboxError = errors.PortalUnreachable("The connection ended.")
            except errors.SandboxError as failure:
                if event_stream.is_final(failure) or not position.is_known:
                    raise
                error = failure
            on_retry(error)
            await asyncio.sleep(position.backoff(error))

    async def _connect(self, position: event_stream.Position) -> AsyncIterator[PortalEvent]:
        url = event_stream.address(await self.send(Call("GET", "")))
        parser = event_stream.Parser()
        try:
            async with self._http.stream("GET", url, **position.request()) as response:
                if not response.is_success:
                    await response.aread()
                    protocol.parse_response(response)
                async for line in response.aiter_lines():
                    for fields in parser.feed(line):
                        if event := position.take(fields):
                            yield event
        except httpx2.HTTPError as error:
            raise errors.PortalUnreachable(protocol.unreachable(url, error)) from error


class AsyncSandbox(SandboxData):
    """A sandbox; see `Sandbox`. `async with` destroys it at the end of the block."""

    def __init__(self, client: AsyncClient, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self._client = client
        self._heartbeat: asyncio.Task[None] | None = None
        self.owns_client = False
        """Whether the client is closed with this sandbox."""

    @classmethod
    async def launch(cls, blueprint: str | None = None, **options: Any) -> AsyncSandbox:
        """Launch a sandbox on the portal of the environment; see `AsyncClient.launch`."""
        client = AsyncClient()
        try:
            sandbox = await client.launch(blueprint, **options)
        except BaseException:
            await client.close()
            raise
        sandbox.owns_client = True
        return sandbox

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.destroy()
        finally:
            if self.owns_client:
                await self._client.close()

    async def _send(self, method: str, part: str = "", body: Any = None, **query: str) -> Any:
        return await self._client.send(protocol.of_sandbox(method, self.id, part, body, **query))

    async def refresh(self) -> Self:
        """Ask the portal for the present state."""
        self.data = await self._send("GET")
        return self

    async def wait_until_running(self, seconds: float = DEFAULT_LAUNCH_SECONDS) -> Self:
        """Wait until the sandbox is running. Raises LaunchFailed or LaunchTimeout."""
        deadline = time.monotonic() + seconds
        while self.is_launching:
            if time.monotonic() > deadline:
                raise errors.LaunchTimeout(protocol.not_running(self.id, seconds))
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()
        if not self.is_running:
            self.stop_heartbeat()
            raise errors.LaunchFailed(self.data)
        return self

    async def credentials(self) -> dict[str, str]:
        """Return the credentials by the names of the blueprint. The portal records this."""
        found = await self._send("GET", "/credentials")
        return {name: value for name, value in found.items() if value}

    async def connections(self) -> dict[str, Any]:
        """Return how to use it: `apis` with URL and headers, `databases` with URLs, `variables`.

        They contain credentials; the portal records this.
        """
        return dict(await self._send("GET", "/connections"))

    async def environment(self) -> dict[str, str]:
        """Return URLs and credentials as environment variables. The portal records this."""
        return dict((await self.connections())["variables"])

    async def logs(self, service: str | None = None, tail: int = 100) -> str:
        """Return the last lines of a service's log."""
        query = {"tail": str(tail)} | ({"service": service} if service else {})
        return str((await self._send("GET", "/logs", **query))["text"])

    async def events(self) -> list[dict[str, Any]]:
        """Return the activity log, oldest event first."""
        return list((await self._send("GET", "/events"))["data"])

    async def touch(self) -> Self:
        """Reset the idle timer."""
        self.data = await self._send("POST", "/touch")
        return self

    async def extend(self, minutes: int) -> Self:
        """Extend the lifetime, which is possible once. Raises Conflict."""
        self.data = (await self._send("POST", "/extensions", {"minutes": minutes}))["sandbox"]
        return self

    async def rename(self, name: str) -> Self:
        """Change the name."""
        self.data = await self._send("PATCH", body={"name": name})
        return self

    async def reset(self, wait: float = RESET_SECONDS) -> Self:
        """Reset the data to the seed, and wait up to `wait` seconds. Raises LaunchTimeout."""
        self.data = await self._send("POST", "/reset")
        await self._wait_for_reset(wait)
        return self

    async def _wait_for_reset(self, wait: float) -> None:
        deadline = time.monotonic() + wait
        while wait > 0 and self.data["reset_pending"]:
            if time.monotonic() > deadline:
                raise errors.LaunchTimeout(protocol.not_reset(self.id, wait))
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def save(self, name: str, wait: float = RESET_SECONDS) -> dict[str, Any]:
        """Save the data, wait up to `wait` seconds, and return the save point.

        Raises SaveFailed, LaunchTimeout.
        """
        saved = dict(await self._send("POST", "/save-points", {"name": name}))
        deadline = time.monotonic() + wait
        while wait > 0 and saved["state"] == "saving":
            if time.monotonic() > deadline:
                raise errors.LaunchTimeout(protocol.not_saved(self.id, wait))
            await asyncio.sleep(POLL_SECONDS)
            saved = dict(await self._client.send(Call("GET", f"/save-points/{saved['id']}")))
        if saved["state"] == "failed":
            raise errors.SaveFailed(f"{self.id} couldn't be saved: {saved['error']}")
        return saved

    async def restore(self, save_point: str, wait: float = RESET_SECONDS) -> Self:
        """Return to the data of a save point of this sandbox, and wait up to `wait` seconds.

        Addresses and credentials stay. Raises LaunchTimeout.
        """
        self.data = await self._client.send(Call("POST", f"/save-points/{save_point}/restore"))
        await self._wait_for_reset(wait)
        return self

    async def destroy(self) -> Self:
        """Destroy the sandbox and its data. Does nothing if it is gone."""
        self.stop_heartbeat()
        self.data = await self._send("DELETE")
        return self

    def start_heartbeat(self, seconds: float) -> None:
        """Send a heartbeat from a task, `protocol.BEATS` times in `seconds`."""
        self.stop_heartbeat()
        self._heartbeat = asyncio.create_task(self._beat(seconds / protocol.BEATS))

    async def _beat(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            with suppress(errors.SandboxError):
                await self._send("POST", "/heartbeat")

    def stop_heartbeat(self) -> None:
        """End the task that sends heartbeats."""
        if self._heartbeat:
            self._heartbeat.cancel()
            self._heartbeat = None
