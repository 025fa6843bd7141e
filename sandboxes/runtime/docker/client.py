"""The connection to the engine: one client per process, time limits, translation of errors."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from cryptography import x509
from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env

from sandboxes.runtime import (
    CapacityExhausted,
    EngineDenied,
    EngineRefused,
    EngineUnreachable,
    ImageMissing,
    RuntimeFailure,
)

Result = TypeVar("Result")

CONNECTION_POOL_SIZE = 32
"""Connections kept open for parallel calls."""
MAX_PARALLEL_CALLS = 8
"""Default limit of parallel engine calls of one operation."""
PORT_CONFLICT_MESSAGES = (
    "all ports are allocated",
    "port is already allocated",
    "address already in use",
)
UNREACHABLE_STATUSES = (requests.codes.bad_gateway, requests.codes.gateway_timeout)
"""Answers of a proxy in front of the engine; the engine itself never sends them."""
PERMISSION_DENIED = os.strerror(errno.EACCES)
MAX_ERROR_LENGTH = 300
CHUNK_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of an answer that isn't a stream. The list of a thousand sandboxes takes a tenth of it."""
VISIBILITY_ATTEMPTS, VISIBILITY_PAUSE_SECONDS = 20, 0.15
"""The wait for an object that is being created: about three seconds in all."""


class IsolatedClient(APIClient):
    """Client that uses only its own settings for TLS, proxies and authentication.

    `requests` would prefer REQUESTS_CA_BUNDLE to the engine's certificate authority, and use the
    proxies and the `.netrc` file that are meant for the internet.
    """

    @property
    def trust_env(self) -> bool:
        return False

    @trust_env.setter
    def trust_env(self, _value: bool) -> None:
        """Ignore the value that `requests` sets before the first call."""

    def send(self, request: Any, **options: Any) -> Any:
        """Send a request, and read an answer that isn't a stream within bounds.

        Otherwise, an engine could keep a worker busy for ever, or use up its memory.
        """
        response = super().send(request, **options | {"stream": True})
        if not options.get("stream"):
            seconds = options.get("timeout")
            response._content = read_bounded(  # noqa: SLF001 - as `requests` itself does
                response, float("inf") if seconds is None else seconds
            )
        return response


def read_bounded(response: requests.Response, seconds: float) -> bytes:
    """Return the content of an answer that may take this many seconds.

    Raises requests.Timeout, and requests.ConnectionError if it is too long.
    """
    until, content = time.monotonic() + seconds, bytearray()
    while part := response.raw.read1(CHUNK_BYTES, decode_content=True):
        content += part
        if len(content) > MAX_ANSWER_BYTES:
            response.close()
            raise requests.ConnectionError("The engine's answer is too long.")
        if time.monotonic() > until:
            response.close()
            raise requests.Timeout("The engine's answer took too long.")
    return bytes(content)


class EngineClient:
    """The address of the engine and the clients to call it.

    `url` is a DOCKER_HOST (`unix://…`, `tcp://…`, `ssh://…`; empty for the default socket),
    `timeout` the time limit of each call in seconds. DOCKER_TLS_VERIFY and DOCKER_CERT_PATH are
    respected, unless `certificates` names a directory with `ca.pem`, `cert.pem` and `key.pem`:
    TLS on both sides is then required for `tcp://`.
    """

    def __init__(self, url: str, timeout: float, certificates: Path | None = None) -> None:
        self.url = url
        self.timeout = timeout
        self.certificates = certificates
        self._clients: dict[tuple[int, int], APIClient] = {}
        self._lock = threading.Lock()

    @property
    def is_local(self) -> bool:
        """Return whether the engine runs on this machine, so that kernel counters can be read."""
        return not self.url or self.url.startswith("unix://")

    def certificate_expiry(self) -> datetime | None:
        """Return when the first of the engine's and the portal's certificates ends.

        Return None for connections without TLS on both sides. Raises EngineUnreachable.
        """
        if not self.certificates or self.is_local:
            return None
        where, files = urlsplit(self.url), self.certificates
        with self.calling("present its certificate"):
            context = ssl.create_default_context(cafile=files / "ca.pem")
            context.load_cert_chain(files / "cert.pem", files / "key.pem")
            with (
                socket.create_connection((where.hostname, where.port), self.timeout) as plain,
                context.wrap_socket(plain, server_hostname=where.hostname) as encrypted,
            ):
                presented = (encrypted.getpeercert() or {})["notAfter"]
            own = x509.load_pem_x509_certificate((files / "cert.pem").read_bytes())
        engines = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(presented)), UTC)
        return min(engines, own.not_valid_after_utc)

    def client(self, timeout_factor: int = 1) -> APIClient:
        """Return the client of this process, with `timeout_factor` times the time limit.

        It is created on first use: a socket shared with a forked child would mix up the responses.
        """
        key = (os.getpid(), timeout_factor)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._connect(timeout_factor)
            return self._clients[key]

    def _connect(self, timeout_factor: int) -> APIClient:
        where = self._address()
        timeout: Any = self.timeout * timeout_factor
        return IsolatedClient(timeout=timeout, max_pool_size=CONNECTION_POOL_SIZE, **where)

    def _address(self) -> dict[str, Any]:
        folder = self.certificates
        if folder is None:
            return {**kwargs_from_env({**os.environ, "DOCKER_HOST": self.url})}
        if self.is_local:
            return {"base_url": self.url}
        pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
        tls = TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)
        return {"base_url": self.url, "tls": tls}

    @contextmanager
    def calling(
        self, action: str, *, redact: Collection[str] = (), timeout_factor: int = 1
    ) -> Iterator[APIClient]:
        """Yield the client for calls that do `action`, which completes “refused to …”.

        Translates all errors of the SDK to ours, without any of the words in `redact`.
        """
        try:
            yield self.client(timeout_factor)
        except ImageNotFound as error:
            raise ImageMissing(
                f"The engine has no such image: {error_message(error, redact)}. "
                "An operator can build it with `manage.py blueprint prepare`."
            ) from error
        except APIError as error:
            if error.status_code in UNREACHABLE_STATUSES:
                raise EngineUnreachable(
                    f"The Docker engine did not answer when asked to {action}."
                ) from error
            raise translate_error(error, action, redact) from error
        except (
            requests.RequestException,
            DockerException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            if PERMISSION_DENIED in str(error):
                raise EngineDenied(
                    f"This user may not use the Docker engine's socket, {self.url or 'the default'}"
                    f", to {action}. Run the command with `sandbox-portal manage`, or as a user of "
                    "the socket's group."
                ) from error
            raise EngineUnreachable(
                f"The Docker engine did not answer when asked to {action} ({type(error).__name__})."
            ) from error


def translate_error(error: APIError, action: str, redact: Collection[str] = ()) -> RuntimeFailure:
    """Return our error for a request that the engine rejected."""
    if is_port_conflict(error):
        return CapacityExhausted(
            "All ports for sandboxes are in use; try again when a sandbox has ended."
        )
    return EngineRefused(f"The engine refused to {action}: {error_message(error, redact)}.")


def is_port_conflict(error: APIError) -> bool:
    """Return whether a container failed to start because a host port is taken."""
    return any(words in error_message(error) for words in PORT_CONFLICT_MESSAGES)


def error_message(error: APIError, redact: Collection[str] = ()) -> str:
    """Return the engine's explanation in one line, without secrets."""
    text = " ".join(str(error.explanation or error.status_code).split())
    for word in sorted(redact, key=len, reverse=True):
        text = text.replace(word, "•••") if word else text
    return text[:MAX_ERROR_LENGTH].rstrip(".")


def is_gone(error: APIError) -> bool:
    """Return whether the object doesn't exist (any more) or is already being removed."""
    return error.status_code == requests.codes.not_found or "already in progress" in error_message(
        error
    )


def wait_until_visible(look_up: Callable[[], Sequence[Result]]) -> Sequence[Result]:
    """Return the result of `look_up` as soon as it finds an object whose name is taken.

    An object that the engine is still creating, for example after a call that timed out, is missing
    from its lists for a moment.
    """
    found = look_up()
    for _ in range(VISIBILITY_ATTEMPTS):
        if found:
            break
        time.sleep(VISIBILITY_PAUSE_SECONDS)
        found = look_up()
    return found


def run_parallel(
    calls: Sequence[Callable[[], Result]], max_parallel: int = MAX_PARALLEL_CALLS
) -> list[Result]:
    """Run all calls in parallel and return their results; a failure doesn't stop the others.

    Raises the first failure, in the given order.
    """
    if len(calls) <= 1:
        return [call() for call in calls]
    with ThreadPoolExecutor(min(max_parallel, len(calls)), "engine") as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
