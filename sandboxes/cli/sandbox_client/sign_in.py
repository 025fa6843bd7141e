"""The portal's address and the token of the user: from the environment, or stored by `login`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox_client.errors import NotSignedIn

URL_VARIABLE, TOKEN_VARIABLE = "SANDBOX_URL", "SANDBOX_TOKEN"
KEYRING_SERVICE = "sandbox-client"


@dataclass(frozen=True)
class SignIn:
    """Where the portal is, and the token that opens it."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"SignIn(url={self.url!r})"


def current(url: str | None = None, token: str | None = None) -> SignIn:
    """Return the sign-in to use.

    Arguments win over `SANDBOX_URL` and `SANDBOX_TOKEN`, and those over what is stored. Raises
    NotSignedIn.
    """
    stored = _read()
    url = url or os.environ.get(URL_VARIABLE) or stored.get("url")
    if not url:
        raise NotSignedIn(
            f"No portal is known. Run “sandbox login URL”, or set {URL_VARIABLE} and "
            f"{TOKEN_VARIABLE}."
        )
    url = normalize(url)
    token = token or os.environ.get(TOKEN_VARIABLE) or _stored_token(url, stored)
    if not token:
        raise NotSignedIn(
            f"You aren't signed in to {url}. Run “sandbox login {url}”, or set {TOKEN_VARIABLE}."
        )
    return SignIn(url, token)


def normalize(url: str) -> str:
    """Return the address of a portal without a path. Raises NotSignedIn if it isn't one."""
    if "://" not in url:
        url = f"https://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotSignedIn(f"{url} isn't the address of a portal. Use https://portal.example.com.")
    if parts.username or parts.password:
        raise NotSignedIn("The address contains credentials. Leave them out.")
    return f"{parts.scheme}://{parts.netloc}"


def store(sign_in: SignIn) -> str:
    """Store a sign-in in the keyring, or without one in a file of mode 600. Return where."""
    if (keyring := _keyring()) is not None:
        with suppress(Exception):  # A keyring that is locked, or has no backend.
            keyring.set_password(KEYRING_SERVICE, sign_in.url, sign_in.token)
            _write({"url": sign_in.url})
            return "the keyring"
    _write({"url": sign_in.url, "token": sign_in.token})
    return str(path())


def forget() -> str:
    """Remove what is stored. Return the address, or an empty string if nothing was stored."""
    stored = _read()
    url = str(stored.get("url", ""))
    if url and (keyring := _keyring()) is not None:
        with suppress(Exception):
            keyring.delete_password(KEYRING_SERVICE, url)
    path().unlink(missing_ok=True)
    return url


def path() -> Path:
    """Return the file, below `XDG_CONFIG_HOME` or `~/.config`."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "sandbox-client" / "sign-in.json"


def _stored_token(url: str, stored: dict[str, Any]) -> str | None:
    if url != stored.get("url"):
        return None
    if stored.get("token"):
        return str(stored["token"])
    if (keyring := _keyring()) is not None:
        with suppress(Exception):
            found: str | None = keyring.get_password(KEYRING_SERVICE, url)
            return found
    return None


def _read() -> dict[str, Any]:
    try:
        found = json.loads(path().read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NotSignedIn(
            f"{path()} can't be read ({error}). Run “sandbox login” again."
        ) from error
    return found if isinstance(found, dict) else {}


def _write(values: dict[str, str]) -> None:
    file = path()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    # Created with its mode, so that no other user can open it in between.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        json.dump(values, opened)
    temporary.replace(file)


def _keyring() -> Any:
    """Return the module `keyring` if it is installed and usable."""
    try:
        import keyring
        from keyring.backends import fail
    except ImportError:
        return None
    return None if isinstance(keyring.get_keyring(), fail.Keyring) else keyring
