"""The proxy over the network: only the portal's certificate opens it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from socket_proxy.tls import common_name

from sandboxes.preparation import engine_certificates
from sandboxes.preparation.engine_certificates import OPERATOR, PORTAL, Authority
from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for
from tests.socket_proxy.harness import PROGRAM, running_program

PASSPHRASE = "only for these tests"


@dataclass
class Listener:
    """A proxy on the loopback interface, without an engine behind it."""

    port: int
    folder: Path
    log: Path
    authority: Authority

    def context(self, client: str = "portal") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "engine/ca.pem")
        if client:
            own = self.folder / client
            context.load_cert_chain(own / "cert.pem", own / "key.pem")
        return context

    def ask(
        self,
        context: ssl.SSLContext,
        method: str = "GET",
        path: str = "/containers/x/attach",
        body: bytes | None = None,
    ) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=context
        )
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["message"]
        finally:
            connection.close()

    def listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def logged(self, text: str) -> bool:
        return text in self.log.read_text()


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.open(folder / "ca", PASSPHRASE)
    authority.issue_for_engine(folder / "engine", "east", ["127.0.0.1"])
    authority.issue_for_client(folder / "portal", PORTAL)
    log, port = folder / "log", reserve_port()
    command = [sys.executable, PROGRAM, "--tls", f"127.0.0.1:{port}", "--certificates"]
    environment = {"SANDBOX_INSTANCE": "one", "ENGINE_SOCKET": str(folder / "nowhere")}
    with running_program([*command, folder / "engine"], log, environment):
        found = Listener(port, folder, log, authority)
        wait_for(found.listens, "the proxy listens")
        yield found


def test_the_portal_gets_answers_over_tls_1_3(listener: Listener) -> None:
    status, message = listener.ask(listener.context())
    assert (status, "isn't on the list" in message) == (403, True)
    older = listener.context()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match=r"(?i)protocol|reset|eof"):
        listener.ask(older)


def test_other_certificates_get_no_answer(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = listener.folder
    other = Authority.open(folder / "other-ca", PASSPHRASE)
    other.issue_for_client(folder / "stranger", PORTAL)
    monkeypatch.setattr(engine_certificates, "BACKDATED_BY", timedelta(days=2))
    listener.authority.issue_for_client(folder / "expired", PORTAL, days=-1)
    reasons = {
        "": "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "stranger": "unable to get local issuer certificate",
        "expired": "certificate has expired",
        # The certificate of an engine is one of the authority, too.
        "engine": "unsuitable certificate purpose",
    }
    for client, reason in reasons.items():
        with pytest.raises((OSError, http.client.HTTPException)):
            listener.ask(listener.context(client))
        wait_for(lambda text=reason: listener.logged(text), f"{reason} is logged")


def test_another_client_of_the_authority_is_told_whose_certificate_is_due(
    listener: Listener,
) -> None:
    listener.authority.issue_for_client(listener.folder / "backup", "backup")
    status, message = listener.ask(listener.context("backup"))
    assert status == 403
    assert "the client's certificate is for “backup”, not for “sandbox-portal”" in message


def test_only_an_operators_command_loads_images_and_it_does_nothing_else(
    listener: Listener,
) -> None:
    listener.authority.issue_for_client(listener.folder / "operator", OPERATOR)
    portal, operator = listener.context(), listener.context("operator")
    load = ("POST", "/images/load?quiet=0", b"x" * 100_000)
    # There is no engine that could answer what is allowed.
    assert listener.ask(operator, *load)[0] == 502
    assert listener.ask(portal, *load)[0] == 403
    assert listener.ask(operator, "GET", "/networks")[0] == 403
    assert listener.ask(portal, "GET", "/networks")[0] == 502
    for denied in ("/images/load?fromSrc=x", "/images/create?fromImage=x", "/images/x/push"):
        assert listener.ask(operator, "POST", denied)[0] == 403


def test_a_renewed_certificate_needs_no_restart(listener: Listener) -> None:
    def presented() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", listener.port), 10) as plain,
            listener.context().wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
        ):
            return encrypted.getpeercert(binary_form=True) or b""

    before = presented()
    listener.authority.issue_for_engine(listener.folder / "engine", "east", ["127.0.0.1"])
    assert presented() != before
    (listener.folder / "engine/key.pem").write_text("being written")
    assert presented() != before


def test_connections_without_a_handshake_are_bounded(listener: Listener) -> None:
    with ExitStack() as stack:
        for _ in range(260):
            stack.enter_context(socket.create_connection(("127.0.0.1", listener.port), 10))
        wait_for(lambda: listener.logged("256 are open"), "some connections are refused")
    wait_for(lambda: listener.ask(listener.context())[0] == 403, "the proxy answers again")
    assert "Traceback" not in listener.log.read_text()


def test_a_name_must_be_the_only_one() -> None:
    one, two = (("commonName", "a"),), (("commonName", "b"),)
    assert common_name({"subject": (one,)}) == "a"
    assert common_name({"subject": (one, two)}) == ""
    assert common_name({}) == ""
