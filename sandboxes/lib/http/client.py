"""HTTP requests to servers outside the portal's control.

Every request has one total time limit, a response body of bounded size and no redirects: a server
that sends one byte now and then holds no thread, and one that sends without end fills no memory.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from time import monotonic
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2

from sandboxes.lib.http.deadline_backend import DeadlineBackend
from sandboxes.lib.http.tcp_traffic import Traffic

Headers = Sequence[tuple[str, str]]

MAX_OVERHEAD_BYTES = 512 * 1024
"""For the headers of a response, and for the framing of its body."""
MAX_CHUNKS = 20_000
"""A response of one byte per chunk would take seconds of CPU time."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one request: `seconds` for all of it, `max_bytes` of the response's body.

    With `keep_partial`, a time limit that passes while the body is read cuts the body instead of
    raising TimedOut.
    """

    seconds: float
    max_bytes: int
    keep_partial: bool = False


class RequestFailed(Exception):
    """No complete response arrived."""


class TimedOut(RequestFailed):
    """The total time limit passed."""


class ConnectionFailed(RequestFailed):
    """The server can't be reached, or closed the connection."""


class InvalidResponse(RequestFailed):
    """The server's response is not valid HTTP."""


@dataclass(frozen=True)
class Response:
    """A response; `complete` unless its body was cut."""

    status: int
    headers: Headers
    """Names in lower case, in the order received."""
    body: bytes
    complete: bool
    seconds: float

    @property
    def text(self) -> str:
        """Return the body as UTF-8, invalid bytes replaced."""
        return self.body.decode(errors="replace")

    def header(self, name: str) -> str:
        """Return the first value of a header given in lower case, or an empty string."""
        return next((value for known, value in self.headers if known == name), "")


def send(
    method: str,
    url: str,
    *,
    headers: Headers = (),
    body: bytes = b"",
    limits: Limits,
    backend: type[DeadlineBackend] = DeadlineBackend,
    use_proxies: bool = False,
    on_traffic: Callable[[Traffic], object] = lambda _: None,
) -> Response:
    """Send one request and return its response.

    `backend` decides which address a name leads to. Proxies of the environment (HTTP_PROXY and
    relatives) are used only with `use_proxies`. `on_traffic` is told how much was sent and
    received, also if the request fails.

    Raises TimedOut, ConnectionFailed, InvalidResponse, the OSError that a backend raises, and
    ValueError if the URL can't be sent.
    """
    began = monotonic()
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    address = httpcore2.URL(
        scheme=parts.scheme,
        host=(parts.hostname or "").encode("ascii"),
        port=parts.port,
        target=target.encode("ascii"),
    )
    network = backend(limits.seconds)
    network.max_received = MAX_OVERHEAD_BYTES
    try:
        with (
            _pool(parts, network, use_proxies) as pool,
            pool.stream(method, address, headers=headers, content=body) as response,
        ):
            network.max_received += limits.max_bytes
            content, complete = _read(response, limits)
            received = [(_text(name).lower(), _text(value)) for name, value in response.headers]
            return Response(response.status, received, content, complete, monotonic() - began)
    except httpcore2.TimeoutException as error:
        raise TimedOut(type(error).__name__) from error
    except (httpcore2.NetworkError, httpcore2.ProxyError) as error:
        raise ConnectionFailed(str(error) or type(error).__name__) from error
    except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
        raise InvalidResponse(str(error) or type(error).__name__) from error
    finally:
        on_traffic(network.traffic)


def _pool(
    parts: SplitResult, backend: DeadlineBackend, use_proxies: bool
) -> httpcore2.ConnectionPool:
    """Return a pool for this one request: a checked connection serves no other name."""
    proxies = getproxies() if use_proxies else {}
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return httpcore2.ConnectionPool(certificates(), network_backend=backend)
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return httpcore2.HTTPProxy(
        f"{address.scheme}://{address.netloc.rpartition('@')[2]}",
        proxy_auth=_credentials(address),
        ssl_context=certificates(),
        network_backend=backend,
    )


def _credentials(address: SplitResult) -> tuple[str, str] | None:
    """Return the user name and password in a URL, decoded."""
    if address.username is None:
        return None
    return unquote(address.username), unquote(address.password or "")


def _read(response: httpcore2.Response, limits: Limits) -> tuple[bytes, bool]:
    body = bytearray()
    try:
        for number, chunk in enumerate(response.iter_stream()):
            body += chunk
            if len(body) > limits.max_bytes or number > MAX_CHUNKS:
                return bytes(body[: limits.max_bytes]), False
    except httpcore2.ReadTimeout:
        if not limits.keep_partial:
            raise
        return bytes(body), False
    return bytes(body), True


def _text(header: bytes) -> str:
    return header.decode("latin-1")


@cache
def certificates() -> ssl.SSLContext:
    """Return the trusted certificates; reading them for each request would be slow."""
    return httpcore2.default_ssl_context()
