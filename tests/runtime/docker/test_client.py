"""The engine client uses its own TLS settings, not those of other programs."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sandboxes.runtime import EngineDenied
from sandboxes.runtime.docker.client import EngineClient
from tests.harness.certificate import write_certificate
from tests.helpers.servers import serving
from tests.helpers.users import as_other_user


class Engine(BaseHTTPRequestHandler):
    """Responds like the engine's `/version` and records the Authorization header."""

    authorizations: list[str | None]

    def do_GET(self) -> None:
        self.authorizations.append(self.headers["Authorization"])
        body = json.dumps({"ApiVersion": "1.41", "Version": "20.10"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the DOCKER_HOST of an engine that requires TLS on both sides."""
    write_certificate(tmp_path)
    Engine.authorizations = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with serving(server):
        yield f"tcp://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"REQUESTS_CA_BUNDLE": "other.pem", "CURL_CA_BUNDLE": "other.pem"},
        {"REQUESTS_CA_BUNDLE": "/nowhere", "SSL_CERT_FILE": "/nowhere"},
        {"HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""},
        {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        {"NETRC": "netrc"},
    ],
    ids=lambda environment: ",".join(environment) or "none",
)
def test_the_environment_of_other_http_clients_is_ignored(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    other = tmp_path / "others"
    other.mkdir()
    write_certificate(other)
    (other / "ca.pem").rename(tmp_path / "other.pem")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        file = tmp_path / value
        monkeypatch.setenv(name, str(file) if file.exists() else value)
    with EngineClient(engine, 5).calling("report its version") as client:
        assert client.version()["ApiVersion"] == "1.41"
    assert set(Engine.authorizations) == {None}


@pytest.mark.root
def test_a_socket_that_denies_access_is_named() -> None:
    with TemporaryDirectory() as home, socket.socket(socket.AF_UNIX) as listening:
        path = str(Path(home, "docker.sock"))
        listening.bind(path)
        listening.listen()
        engine = EngineClient(f"unix://{path}", 1)
        with (
            as_other_user(),
            pytest.raises(EngineDenied, match=rf"may not use .*unix://{path}, to list"),
            engine.calling("list the networks") as client,
        ):
            client.networks()
