"""URL policy of webhooks: no notation of an internal address is reachable."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from threading import Event
from time import monotonic
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ImproperlyConfigured

from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.lib.http import client as http_client
from sandboxes.webhooks import client, url_policy
from sandboxes.webhooks.client import DeliveryError, post
from sandboxes.webhooks.own_addresses import interface_addresses
from sandboxes.webhooks.url_policy import check_url, is_public
from sandboxportal import settings as portal_settings
from tests.fakes.friendbot import raw_server
from tests.fakes.webhook_receiver import Receiver

pytestmark = pytest.mark.django_db

INSIDE = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.17.0.1",
    "192.168.0.10",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%1",
    "2606:4700::1111%25eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "3fff::1",
    "fec0::1",
    "192.0.0.9",
    "192.88.99.1",
    "localhost",
    "",
    "1.2.3",
]


@pytest.mark.parametrize("address", INSIDE)
def test_internal_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("", "starts with"),
        ("example.com", "starts with"),
        ("ftp://example.com/", "starts with"),
        ("file:///etc/passwd", "starts with"),
        ("gopher://example.com/", "starts with"),
        ("https://", "starts with"),
        ("https:///path", "starts with"),
        ("javascript:alert(1)", "starts with"),
        ("https://user:pass@example.com/", "user names"),
        ("https://@example.com/", "user names"),
        ("https://example.com/#part", "user names"),
        ("https://example.com:0/", "Port 0 isn't allowed"),
        ("https://example.com:22/", "Port 22 isn't allowed"),
        ("https://example.com:1023/", "Port 1023 isn't allowed"),
        ("https://example.com:65536/", "full URL"),
        ("https://example.com:-1/", "full URL"),
        ("https://example.com:+80/", "full URL"),
        ("https://example.com:\uff18\uff10/", "ASCII"),
        ("https://example.com:\u0664\u0664\u0663/", "ASCII"),
        ("https://example.com:99999/", "full URL"),
        ("https://[::1/", "full URL"),
        ("https://exa mple.com/", "spaces"),
        ("https://example.com/\r\nHost: inside", "spaces"),
        ("https://exämple.com/", "ASCII"),
        ("https://example.com/\0", "ASCII"),
        ("https://example.com/\x7f", "ASCII"),
        (f"https://{'x' * 64}.com/", "at most 63"),
        (f"https://{'x.' * 127}com/", "at most 253"),
        ("https://a..example.com/", "isn't valid"),
        ("https://.example.com/", "isn't valid"),
        ("https://-a.example.com/", "isn't valid"),
        ("https://a-.example.com/", "isn't valid"),
        ("https://ex%61mple.com/", "isn't valid"),
        ("https://example.com%2f.evil.com/", "isn't valid"),
        ("https://exam*ple.com/", "isn't valid"),
        ("https://example.com\\.evil.com/", "isn't valid"),
        ("https://example.com\\@evil.com/", "user names"),
        ("https://example.com./", "Remove the dot"),
        ("https://example.com../", "Remove the dot"),
        ("https://xn--a.com/", "international domain name"),
        ("https://xn--999999999.com/", "international domain name"),
        ("https://xn--.com/", "isn't valid"),
        ("https://127.1/", "in its usual form"),
        ("https://0x7f.0.0.1/", "in its usual form"),
        ("https://0177.0.0.1/", "in its usual form"),
        ("https://2130706433/", "in its usual form"),
        ("https://1.2.3.4.5/", "in its usual form"),
        ("https://[fe80::1%25eth0]/", "publicly reachable"),
        ("https://[v1.x]/", "usual form|full URL"),
        ("https://hooks.localhost/", "publicly reachable"),
        ("https://example.com/" + "x" * 500, "at most 500"),
        ("https://127.0.0.1/", "publicly reachable"),
        ("https://localhost/", "publicly reachable"),
        ("https://[::1]:8000/", "publicly reachable"),
        ("https://[::ffff:169.254.169.254]/", "publicly reachable"),
        ("http://example.com/", "starts with https"),
    ],
)
def test_invalid_urls_are_rejected_with_a_remedy(settings, url: str, remedy: str) -> None:
    settings.WEBHOOK_ALLOW_HTTP = False
    with pytest.raises(ValidationFailed, match=remedy) as refused:
        check_url(url)
    assert refused.value.field == "url"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:443/hook?key=value",
        "https://example.com:8443/hook",
        "https://EXAMPLE.com/a%20b",
        "https://under_score.example.com/",
        f"https://{'x' * 63}.com/",
        "https://xn--mnchen-3ya.de/",
        "https://xn--fa-hia.de/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
    ],
)
def test_urls_of_public_servers_are_accepted(settings, url: str) -> None:
    settings.WEBHOOK_ALLOW_HTTP = False
    assert check_url(url) == url


def test_the_operator_chooses_the_ports(settings) -> None:
    settings.WEBHOOK_PORTS = [range(443, 444)]
    assert check_url("https://example.com:443/")
    with pytest.raises(ValidationFailed, match="Port 8443"):
        check_url("https://example.com:8443/")


@pytest.mark.parametrize("allows_private", [False, True])
def test_the_operator_blocks_networks(settings, allows_private: bool) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = allows_private
    settings.WEBHOOK_BLOCKED_NETWORKS = [ip_network("1.1.1.0/24"), ip_network("2606:4700::/32")]
    for host in ("1.1.1.1", "[2606:4700::1111]", "[::ffff:1.1.1.1]", "[64:ff9b::101:101]"):
        with pytest.raises(ValidationFailed, match="publicly reachable"):
            check_url(f"https://{host}/")
    assert check_url("https://1.0.0.1/")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "example.com", "10.0.0.0/33", ""])
def test_invalid_networks_stop_the_start_with_a_remedy(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"BLOCKED: .*Use CIDR notation"):
        portal_settings._networks("BLOCKED", ["192.0.2.0/24", text])


@pytest.mark.parametrize("text", ["http", "80-", "443-80", "0-70000", "-1"])
def test_invalid_ports_stop_the_start_with_a_remedy(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"PORTS contains .*FIRST-LAST"):
        portal_settings._ports("PORTS", text)


def test_http_is_accepted_if_allowed(settings) -> None:
    settings.WEBHOOK_ALLOW_HTTP = True
    assert check_url(" http://example.com/hook ") == "http://example.com/hook"


class Names:
    """Name server that returns the given answers one after another."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0
        self.real = socket.getaddrinfo

    def getaddrinfo(self, host: str, port: int, *more: Any, **_: Any) -> list[Any]:
        if host[0].isdigit():  # Connecting to a checked address looks it up.
            return self.real(host, port, *more)
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in answer]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Any:
    def answer(*answers: list[str]) -> Names:
        names = Names(*answers)
        monkeypatch.setattr(url_policy.socket, "getaddrinfo", names.getaddrinfo)
        return names

    return answer


@pytest.fixture
def inside(receiver: Receiver, settings) -> Receiver:
    """Server in the portal's own network, which webhooks must not reach."""
    settings.WEBHOOK_ALLOW_PRIVATE = False
    return receiver


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"]
)
def test_no_notation_of_an_internal_address_is_reachable(inside: Receiver, host: str) -> None:
    with pytest.raises(DeliveryError, match=r"non-public|Couldn't connect"):
        post(f"http://{host}:{inside.server_port}/", {}, b"{}")
    assert inside.messages == []


def test_a_host_that_resolves_to_an_internal_address_is_blocked(
    inside: Receiver, named: Any
) -> None:
    named(["127.0.0.1"])
    with pytest.raises(DeliveryError, match="non-public"):
        post(f"http://hooks.example.com:{inside.server_port}/", {}, b"{}")
    assert inside.messages == []


def test_a_host_with_one_internal_address_is_blocked(inside: Receiver, named: Any) -> None:
    named(["1.1.1.1", "127.0.0.1"])
    with pytest.raises(DeliveryError, match="non-public"):
        post(f"http://hooks.example.com:{inside.server_port}/", {}, b"{}")
    assert inside.messages == []


OWN = "93.184.216.34"


@pytest.fixture
def on_own_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this machine a public address."""
    card = [SimpleNamespace(family=socket.AF_INET, address=OWN)]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": card})


@pytest.mark.parametrize(
    "address", [OWN, f"::ffff:{OWN}", "64:ff9b::5db8:d822", "2002:5db8:d822::1"]
)
@pytest.mark.usefixtures("on_own_interface")
def test_a_public_address_of_this_machine_is_blocked(
    inside: Receiver, named: Any, address: str
) -> None:
    named([address])
    with pytest.raises(DeliveryError, match="the portal itself"):
        post(f"http://hooks.example.com:{inside.server_port}/", {}, b"{}")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SITE_URL", "https://portal.example.com"),
        ("SITE_URL", f"https://{OWN}:8443"),
        ("SANDBOX_PUBLIC_HOST", "sandboxes.example.com"),
        ("SANDBOX_PUBLIC_HOST", OWN),
        ("DOCKER_HOST", "tcp://engine.example.com:2376"),
    ],
)
def test_addresses_of_the_portals_hosts_are_blocked(
    inside: Receiver, named: Any, settings, setting: str, value: str
) -> None:
    setattr(settings, setting, value)
    named([OWN])
    with pytest.raises(DeliveryError, match="the portal itself"):
        post(f"http://hooks.example.com:{inside.server_port}/", {}, b"{}")


def test_the_addresses_of_all_interfaces_are_known() -> None:
    assert "127.0.0.1" in interface_addresses()


def test_a_port_that_is_no_longer_allowed_is_not_connected_to(inside: Receiver, named: Any) -> None:
    named(["1.1.1.1"])
    with pytest.raises(DeliveryError, match="port 22 isn't allowed"):
        post("http://hooks.example.com:22/", {}, b"{}")


@pytest.mark.parametrize(
    "host",
    ["x" * 64 + ".com", "a..com", ".com", "xn--a.com", "a b.com", "\x80.com", "%zz", "é.com"],
)
def test_an_impossible_host_name_is_a_delivery_error(receiver: Receiver, host: str) -> None:
    """Check that webhooks from before these names were refused fail with an explanation."""
    with pytest.raises(DeliveryError, match="Couldn't connect"):
        post(f"http://{host}:{receiver.server_port}/", {}, b"{}")


def test_the_resolver_is_part_of_the_time_limit(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Event()
    monkeypatch.setattr(
        url_policy.socket, "getaddrinfo", lambda *_, **__: [] if answered.wait(20) else None
    )
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.3)
    began = monotonic()
    with pytest.raises(DeliveryError, match="No response within"):
        post("http://hooks.example.com:8000/", {}, b"{}")
    assert monotonic() - began < 5
    answered.set()


def test_the_connection_goes_to_the_checked_address(
    inside: Receiver, named: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that the host isn't resolved again: the second answer is internal."""
    names = named(["1.1.1.1"], ["127.0.0.1"])
    called: list[str] = []

    def connect(_: object, host: str, *args: Any) -> None:
        called.append(host)
        raise client.httpcore2.ConnectError("connection refused")

    monkeypatch.setattr(client.httpcore2.SyncBackend, "connect_tcp", connect)
    with pytest.raises(DeliveryError):
        post(f"http://hooks.example.com:{inside.server_port}/", {}, b"{}")
    assert (names.asked, called) == (1, ["1.1.1.1"])


def test_private_networks_are_reachable_if_allowed(receiver: Receiver) -> None:
    assert post(receiver.url, {"x": "y"}, b"{}").status == 204
    assert receiver.messages[0][0]["host"] == f"127.0.0.1:{receiver.server_port}"


def test_proxies_from_the_environment_are_ignored(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert post(receiver.url, {}, b"{}").status == 204


def test_a_slow_receiver_times_out(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.3)
    receiver.status, receiver.drips = 200, True
    with pytest.raises(DeliveryError, match="No response within"):
        post(receiver.url, {}, b"{}")


def test_a_silent_receiver_times_out(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.3)
    with raw_server(sends=None) as url, pytest.raises(DeliveryError, match="No response within"):
        post(url, {}, b"{}")


@pytest.mark.parametrize(
    "words", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000]
)
def test_an_invalid_http_response_is_a_delivery_error(receiver: Receiver, words: bytes) -> None:
    with raw_server(sends=words) as url, pytest.raises(DeliveryError, match="Couldn't connect"):
        post(url, {}, b"{}")


def test_only_the_beginning_of_a_response_is_read(receiver: Receiver) -> None:
    receiver.status, receiver.body = 200, b"x" * 5_000_000
    assert len(post(receiver.url, {}, b"{}").text) < 200_000


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Self-signed certificate for hooks.example.com, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(minutes=5))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.com")]), True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    file = tmp_path / "hooks.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture
def secure(receiver: Receiver, certificate: Path) -> Receiver:
    """Receiver that uses TLS as hooks.example.com."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    return receiver


@pytest.mark.parametrize(
    ("host", "trusted", "arrives"),
    [
        ("hooks.example.com", True, True),
        ("hooks.example.com", False, False),
        ("other.example.com", True, False),
    ],
)
def test_https_verifies_host_name_and_certificate(
    secure: Receiver, certificate: Path, named: Any, monkeypatch, host, trusted, arrives
) -> None:
    named(["127.0.0.1"])
    context = ssl.create_default_context(cafile=certificate if trusted else None)
    monkeypatch.setattr(http_client, "certificates", lambda: context)
    url = f"https://{host}:{secure.server_port}/"
    if arrives:
        assert post(url, {}, b"{}").status == 204
    else:
        with pytest.raises(DeliveryError, match="certificate"):
            post(url, {}, b"{}")
    assert len(secure.messages) == arrives
