"""A CI system's issuer of identity tokens, as a real HTTP server on this machine."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.helpers.servers import start_in_thread

JOB_SECRET = "secret-of-the-job"
MINUTE = 60


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class IdentityIssuer(ThreadingHTTPServer):
    """Publishes its keys, and gives a job its token as GitHub Actions does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: list[str] = []
        self.fails = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a new token; None removes one."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "https://portal.example.com",
            "sub": "repo:acme/shop:ref:refs/heads/main",
            "repository": "acme/shop",
            "iat": now,
            "exp": now + 10 * MINUTE,
            "jti": str(uuid.uuid4()),
        } | changed
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, key: Any = None, algorithm: str = "RS256", kid: str = "rsa", **changed: Any
    ) -> str:
        """Return a signed token."""
        return jwt.encode(
            self.claims(**changed), key or rsa_key(), algorithm=algorithm, headers={"kid": kid}
        )

    def answer(self, path: str, query: dict[str, list[str]]) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/keys":
            rsa_public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key().public_key()))
            ec_public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec_key().public_key()))
            return {"keys": [rsa_public | {"kid": "rsa"}, ec_public | {"kid": "ec"}]}
        if path == "/job":
            return {"value": self.token(aud=query["audience"][0])}
        return None


class Handler(BaseHTTPRequestHandler):
    server: IdentityIssuer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.paths.append(parts.path)
        is_denied = parts.path == "/job" and self.headers["Authorization"] != f"Bearer {JOB_SECRET}"
        found = self.server.answer(parts.path, parse_qs(parts.query))
        body = json.dumps(found).encode()
        self.send_response(500 if self.server.fails else 403 if is_denied else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Suppress the access log."""


@contextmanager
def running_issuer() -> Iterator[IdentityIssuer]:
    with IdentityIssuer() as issuer:
        start_in_thread(issuer)
        yield issuer
        issuer.shutdown()
