"""A git repository behind https, by git's own `http-backend`."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.certificate import write_certificate

PRIVATE = "/private"


@dataclass
class GitServer:
    """A running server; `seen` has the headers of each request in lower case."""

    url: str
    private_url: str
    """An address that asks for a password."""
    authority: Path
    seen: list[Mapping[str, str]] = field(default_factory=list)


@contextmanager
def run_git_server(folder: Path, files: Mapping[str, bytes]) -> Iterator[GitServer]:
    """Serve a repository with these files on the branch `main`."""
    work, bare = folder / "work", folder / "repositories"
    for name, content in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)
    _git(work, "init", "--quiet", "--initial-branch=main")
    _git(work, "add", ".")
    _git(work, "commit", "--quiet", "--message=First")
    _git(folder, "clone", "--quiet", "--bare", str(work), str(bare / "stack.git"))
    (bare / "stack.git" / "git-daemon-export-ok").touch()
    write_certificate(folder)
    server = GitServer("", "", folder / "ca.pem")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _serve(self, body: bytes) -> None:
            server.seen.append({name.lower(): text for name, text in self.headers.items()})
            if self.path.startswith(PRIVATE):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            url = urlsplit(self.path)
            answer = subprocess.run(
                ["git", "http-backend"],
                input=body,
                capture_output=True,
                check=True,
                env={
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(bare),
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": url.path,
                    "QUERY_STRING": url.query,
                    "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                },
            ).stdout
            head, _, content = answer.partition(b"\r\n\r\n")
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            for line in head.decode().splitlines():
                self.send_header(*line.split(": ", 1))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    http.socket = context.wrap_socket(http.socket, server_side=True)
    port = http.server_address[1]
    server.url = f"https://127.0.0.1:{port}/stack.git"
    server.private_url = f"https://127.0.0.1:{port}{PRIVATE}/stack.git"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)
