"""How clients authenticate to the API of an endpoint."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum


class AuthType(StrEnum):
    """`bearer` and `basic` are the schemes of RFC 6750 and RFC 7617."""

    NONE = "none"
    BEARER = "bearer"
    HEADER = "header"
    """The credential is the value of a header, for example `X-Api-Key`."""
    BASIC = "basic"


@dataclass(frozen=True)
class Auth:
    """The credential that an API expects, and the header that carries it."""

    type: AuthType = AuthType.NONE
    credential: str = ""
    """Name of the credential: the token, the value of the header, or the password."""
    name: str = ""
    """Name of the header, for the type `header`."""
    username: str = ""
    """For the type `basic`."""

    @property
    def header_name(self) -> str:
        """Name of the header that authenticates; empty without authentication."""
        if self.type == AuthType.NONE:
            return ""
        return self.name if self.type == AuthType.HEADER else "Authorization"

    def header_value(self, secret: str) -> str:
        """Return the value of the header, with the value of the credential in it."""
        match self.type:
            case AuthType.BEARER:
                return f"Bearer {secret}"
            case AuthType.BASIC:
                return f"Basic {b64encode(f'{self.username}:{secret}'.encode()).decode()}"
            case _:
                return secret

    def headers(self, secret: str) -> list[tuple[str, str]]:
        """Return the headers to send: none without authentication or without a secret."""
        if not secret or self.type == AuthType.NONE:
            return []
        return [(self.header_name, self.header_value(secret))]
