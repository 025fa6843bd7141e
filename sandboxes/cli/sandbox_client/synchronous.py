"""The client for programs without `asyncio`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

import httpx2

from sandbox_client import errors, event_stream, protocol, sign_in
from sandbox_client.event_stream import PortalEvent
from sandbox_client.heartbeat import Heartbeat
from sandbox_client.protocol import Call, SandboxData

DEFAULT_LAUNCH_SECONDS = 120
RESET_SECONDS = 120
POLL_SECONDS = 0.2


class Client:
    """A user's access to a portal.

    Without arguments it uses `SANDBOX_URL` and `SANDBOX_TOKEN`, or what `sandbox login` stored.
    Methods raise ProblemError if the portal refuses and PortalUnreachable if it doesn't answer.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, ca_file: str | None = None
    ) -> None:
        found = sign_in.current(url, token)
        self.url, self.token = found.url, found.token
        self._http = httpx2.Client(
            base_url=found.url,
            headers=protocol.headers(found.token),
            verify=protocol.ssl_context(ca_file),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call) -> Any:
        """Send a request to the API and return the JSON of its response."""
        try:
            response = self._http.request(
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

    def launch(
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
    ) -> Sandbox:
        """Launch a sandbox and wait up to `wait` seconds until it is running.

        With `heartbeat_seconds`, a thread sends heartbeats, and the portal ends the sandbox that
        long after this process has stopped. Raises LaunchFailed or LaunchTimeout; a sandbox that
        isn't returned is destroyed.
        """
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
            sandbox = Sandbox(self, self._send_twice(call))
        except errors.SandboxError:
            raise
        except BaseException:  # Ctrl-C: the portal may have launched it already.
            self._undo(call)
            raise
        if heartbeat_seconds:
            sandbox.start_heartbeat(heartbeat_seconds)
        if wait > 0:
            try:
                sandbox.wait_until_running(wait)
            except errors.LaunchFailed:
                raise
            except BaseException:  # Also Ctrl-C: the caller has no handle yet.
                sandbox.destroy()
                raise
        return sandbox

    def _send_twice(self, call: Call) -> Any:
        """Send a request with an idempotency key again if no answer came."""
        try:
            return self.send(call)
        except errors.PortalUnreachable:
            return self.send(call)

    def _undo(self, call: Call) -> None:
        """Destroy the sandbox of a launch whose response didn't arrive."""
        with suppress(errors.SandboxError):
            Sandbox(self, self.send(protocol.without_waiting(call))).destroy()

    def sandboxes(
        self, *states: str, metadata: Mapping[str, str] | None = None
    ) -> Iterator[Sandbox]:
        """Yield the sandboxes in these states (in any, without), newest first."""
        cursor = ""
        while True:
            page = self.send(protocol.list_sandboxes(states, metadata, cursor))
            for data in page["data"]:
                yield Sandbox(self, data)
            if not page["has_more"]:
                return
            cursor = page["next_cursor"]

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox. Raises NotFound."""
        return Sandbox(self, self.send(protocol.of_sandbox("GET", sandbox_id)))

    def blueprints(self) -> list[dict[str, Any]]:
        """Return the blueprints that can be launched, with their parameters and limits."""
        return list(self.send(Call("GET", "/blueprints"))["data"])

    def save_points(self) -> list[dict[str, Any]]:
        """Return the user's save points, newest first."""
        query = (("limit", str(protocol.PAGE_SIZE)),)
        return list((self.send(Call("GET", "/save-points", query=query)))["data"])

    def limits(self) -> dict[str, Any]:
        """Return the limits of the user, and when the next slot opens."""
        return dict(self.send(Call("GET", "/limits")))

    def events(
        self,
        sandbox_id: str | None = None,
        *,
        replay_minutes: int = 0,
        on_retry: Callable[[errors.SandboxError], None] = lambda _: None,
    ) -> Iterator[PortalEvent]:
        """Yield events of the portal and of sandboxes as they happen, without an end.

        They are those of one sandbox or of all; with `replay_minutes`, those of the past come
        first. If the connection is lost, `on_retry` is called, and the next connection continues
        where this one ended. Raises PortalUnreachable if there is no first connection, and
        ProblemError if the portal refuses.
        """
        position = event_stream.Position(sandbox_id, replay_minutes)
        while True:
            try:
                yield from self._connect(position)
                error: errors.SandboxError = errors.PortalUnreachable("The connection ended.")
            except errors.SandboxError as failure:
                if event_stream.is_final(failure) or not position.is_known:
                    raise
                error = failure
            on_retry(error)
            time.sleep(position.backoff(error))

    def _connect(self, position: event_stream.Position) -> Iterator[PortalEvent]:
        url = event_stream.address(self.send(Call("GET", "")))
        parser = event_stream.Parser()
        try:
            with self._http.stream("GET", url, **position.request()) as response:
                if not response.is_success:
                    response.read()
                    protocol.parse_response(response)
                for line in response.iter_lines():
                    for fields in parser.feed(line):
                        if event := position.take(fields):
                            yield event
        except httpx2.HTTPError as error:
            raise errors.PortalUnreachable(protocol.unreachable(url, error)) from error


class Sandbox(SandboxData):
    """A sandbox. As a context manager it is destroyed at the end of the block."""

    def __init__(self, client: Client, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self._client = client
        self._heartbeat: Heartbeat | None = None
        self.owns_client = False
        """Whether the client is closed with this sandbox."""

    @classmethod
    def launch(cls, blueprint: str | None = None, **options: Any) -> Sandbox:
        """Launch a sandbox on the portal of the environment; see `Client.launch`."""
        client = Client()
        try:
            sandbox = client.launch(blueprint, **options)
        except BaseException:
            client.close()
            raise
        sandbox.owns_client = True
        return sandbox

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.destroy()
        finally:
            if self.owns_client:
                self._client.close()

    def _send(self, method: str, part: str = "", body: Any = None, **query: str) -> Any:
        return self._client.send(protocol.of_sandbox(method, self.id, part, body, **query))

    def refresh(self) -> Self:
        """Ask the portal for the present state."""
        self.data = self._send("GET")
        return self

    def wait_until_running(self, seconds: float = DEFAULT_LAUNCH_SECONDS) -> Self:
        """Wait until the sandbox is running. Raises LaunchFailed or LaunchTimeout."""
        deadline = time.monotonic() + seconds
        while self.is_launching:
            if time.monotonic() > deadline:
                raise errors.LaunchTimeout(protocol.not_running(self.id, seconds))
            time.sleep(POLL_SECONDS)
            self.refresh()
        if not self.is_running:
            self.stop_heartbeat()
            raise errors.LaunchFailed(self.data)
        return self

    def credentials(self) -> dict[str, str]:
        """Return the credentials by the names of the blueprint. The portal records this."""
        return {name: value for name, value in self._send("GET", "/credentials").items() if value}

    def connections(self) -> dict[str, Any]:
        """Return how to use it: `apis` with URL and headers, `databases` with URLs, `variables`.

        They contain credentials; the portal records this.
        """
        return dict(self._send("GET", "/connections"))

    def environment(self) -> dict[str, str]:
        """Return URLs and credentials as environment variables. The portal records this."""
        return dict((self.connections())["variables"])

    def logs(self, service: str | None = None, tail: int = 100) -> str:
        """Return the last lines of a service's log."""
        query = {"tail": str(tail)} | ({"service": service} if service else {})
        return str(self._send("GET", "/logs", **query)["text"])

    def events(self) -> list[dict[str, Any]]:
        """Return the activity log, oldest event first."""
        return list(self._send("GET", "/events")["data"])

    def touch(self) -> Self:
        """Reset the idle timer."""
        self.data = self._send("POST", "/touch")
        return self

    def extend(self, minutes: int) -> Self:
        """Extend the lifetime, which is possible once. Raises Conflict."""
        self.data = self._send("POST", "/extensions", {"minutes": minutes})["sandbox"]
        return self

    def rename(self, name: str) -> Self:
        """Change the name."""
        self.data = self._send("PATCH", body={"name": name})
        return self

    def reset(self, wait: float = RESET_SECONDS) -> Self:
        """Reset the data to the seed, and wait up to `wait` seconds. Raises LaunchTimeout."""
        self.data = self._send("POST", "/reset")
        self._wait_for_reset(wait)
        return self

    def _wait_for_reset(self, wait: float) -> None:
        deadline = time.monotonic() + wait
        while wait > 0 and self.data["reset_pending"]:
            if time.monotonic() > deadline:
                raise errors.LaunchTimeout(protocol.not_reset(self.id, wait))
            time.sleep(POLL_SECONDS)
            self.refresh()

    def save(self, name: str, wait: float = RESET_SECONDS) -> dict[str, Any]:
        """Save the data, wait up to `wait` seconds, and return the save point.

        Raises SaveFailed, LaunchTimeout.
        """
        saved = dict(self._send("POST", "/save-points", {"name": name}))
        deadline = time.monotonic() + wait
        while wait > 0 and saved["state"] == "saving":
            if time.monotonic() > deadline:
                raise errors.LaunchTimeout(protocol.not_saved(self.id, wait))
            time.sleep(POLL_SECONDS)
            saved = dict(self._client.send(Call("GET", f"/save-points/{saved['id']}")))
        if saved["state"] == "failed":
            raise errors.SaveFailed(f"{self.id} couldn't be saved: {saved['error']}")
        return saved

    def restore(self, save_point: str, wait: float = RESET_SECONDS) -> Self:
        """Return to the data of a save point of this sandbox, and wait up to `wait` seconds.

        Addresses and credentials stay. Raises LaunchTimeout.
        """
        self.data = self._client.send(Call("POST", f"/save-points/{save_point}/restore"))
        self._wait_for_reset(wait)
        return self

    def destroy(self) -> Self:
        """Destroy the sandbox and its data. Does nothing if it is gone."""
        self.stop_heartbeat()
        self.data = self._send("DELETE")
        return self

    def start_heartbeat(self, seconds: float) -> None:
        """Send a heartbeat from a thread, `protocol.BEATS` times in `seconds`."""
        self.stop_heartbeat()
        interval = seconds / protocol.BEATS
        self._heartbeat = Heartbeat(lambda: self._send("POST", "/heartbeat"), interval)

    def stop_heartbeat(self) -> None:
        """End the thread that sends heartbeats."""
        if self._heartbeat:
            self._heartbeat.stop()
            self._heartbeat = None
