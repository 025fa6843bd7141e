"""Access to sandboxes that only their owners may open: the cookie, and requests that count.

The gateway asks the portal before it forwards a request. Browsers have a cookie of the sandbox's
host, which belongs to a session of the portal; API clients send a token of the portal. The gateway
removes both from what the sandbox receives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from cryptography.fernet import InvalidToken

from sandboxes.encryption.fields import get_fernet

COOKIE = "__Host-sandbox-access"
"""With this prefix, browsers accept the cookie only from this very host, over HTTPS."""
TOKEN_HEADER = "Portal-Token"  # noqa: S105 - a name
CODE_PATH = "/.sandbox-portal/enter"
"""Where a browser exchanges its code for the cookie, on the sandbox's host."""
REQUEST_HEADERS = (
    "Accept",
    "Cookie",
    "Origin",
    TOKEN_HEADER,
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
)
"""What the gateway tells the portal about a request, beside its method and URL."""
REPLACED_HEADERS = ("Cookie", TOKEN_HEADER)
"""What the sandbox receives only as the portal returns it."""
FORWARDED_COOKIES = "portal.forwarded_cookies"
"""Where the `Cookie` header of the request that the gateway asks about is in `META`."""
SAFE_METHODS = ("GET", "HEAD")

# Servers join several headers by commas, so these separate cookies as semicolons do.
_COOKIE = re.compile(rf"(?:^|(?<=[;,]))\s*{COOKIE}\s*=([^;,]*)(?:[;,]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Grant:
    """The content of a cookie: a host name, and the session whose user may open it."""

    label: str
    session: str


def seal(grant: Grant) -> str:
    """Return the value of a cookie, which only the portal can read or make."""
    return get_fernet().encrypt(json.dumps(asdict(grant)).encode()).decode()


def unseal(text: str) -> Grant | None:
    """Return the content of a cookie; None if the portal hasn't made it."""
    try:
        return Grant(**json.loads(get_fernet().decrypt(text)))
    except (InvalidToken, TypeError, ValueError):
        return None


def cookie_values(header: str) -> list[str]:
    """Return the cookies in a `Cookie` header; more than one if others have added theirs."""
    return [value.strip(' "') for value in _COOKIE.findall(header)]


def without_cookie(header: str) -> str:
    """Return a `Cookie` header without the portal's cookies, for the sandbox."""
    return _COOKIE.sub("", header).strip(" ;,")


def is_own_request(headers: Mapping[str, str], method: str, origin: str) -> bool:
    """Return whether a request with the cookie comes from the user or the sandbox's own pages.

    Other sandboxes are the same site to browsers, which therefore send the cookie with requests of
    their pages, too. Those may only open a page, as a link does. Clients other than browsers don't
    send these headers.
    """
    if headers.get("Origin", origin) != origin:
        return False
    if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return True
    opens_page = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest"))
    return method in SAFE_METHODS and opens_page == ("navigate", "document")
