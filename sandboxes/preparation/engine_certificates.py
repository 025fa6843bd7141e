"""The authority whose certificates let the portal and its engines recognize each other.

Its key is encrypted, and only an operator's command that knows the passphrase uses it. There are
three kinds of certificates: of an engine's machine, for its addresses; of the portal, for what the
worker and the reaper do; and of the operator, for what only commands do, such as to load images.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.conf import settings

from sandboxes.lib import clock
from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.lib.x509_parts import common_name, key_usage

PORTAL, OPERATOR = "sandbox-portal", "sandbox-portal-operator"
"""Common names of the portal's and the operator's certificates, which the socket proxy requires."""
AUTHORITY_VALID_FOR = datetime.timedelta(days=3650)
DAYS = 365
"""How long certificates are valid by default."""
RENEW_BEFORE = datetime.timedelta(days=30)
BACKDATED_BY = datetime.timedelta(hours=1)
"""For machines whose clock is behind."""
MIN_PASSPHRASE_LENGTH = 12
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Authority:
    """The authority of one portal's engines, in a directory (`SANDBOX_ENGINE_CA`)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def exists(cls, directory: Path) -> bool:
        return (directory / "ca.key").exists()

    @classmethod
    def open(cls, directory: Path, passphrase: str) -> Authority:
        """Return the authority; create it if there is none. Raises ValidationFailed, OSError."""
        if not cls.exists(directory):
            cls._create(directory, passphrase)
        certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        encrypted = (directory / "ca.key").read_bytes()
        try:
            key = serialization.load_pem_private_key(encrypted, passphrase.encode())
        except ValueError:
            raise ValidationFailed(
                "passphrase", f"This isn't the passphrase of {directory / 'ca.key'}."
            ) from None
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(certificate, key)

    @classmethod
    def _create(cls, directory: Path, passphrase: str) -> None:
        if len(passphrase) < MIN_PASSPHRASE_LENGTH:
            raise ValidationFailed(
                "passphrase", f"Use at least {MIN_PASSPHRASE_LENGTH} characters."
            )
        key = ec.generate_private_key(ec.SECP256R1())
        name = common_name(f"Engines of {settings.SANDBOX_INSTANCE}")
        certificate = (
            _builder(name, name, key.public_key(), AUTHORITY_VALID_FOR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
        encrypted = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(directory / "ca.pem", certificate.public_bytes(PEM), 0o644)
        write(directory / "ca.key", encrypted, 0o600)

    def issue_for_engine(
        self, directory: Path, name: str, hosts: Sequence[str], days: int = DAYS
    ) -> None:
        """Write a certificate for the machine of an engine, which is valid for these addresses."""
        self._issue(directory, name, ExtendedKeyUsageOID.SERVER_AUTH, hosts, days, 0o600)

    def issue_for_client(self, directory: Path, name: str, days: int = DAYS) -> None:
        """Write a certificate for the portal or the operator, for the directory's group."""
        self._issue(directory, name, ExtendedKeyUsageOID.CLIENT_AUTH, (), days, 0o640)

    def renew_for_client(self, directory: Path, name: str, days: int = DAYS) -> bool:
        """Write one if there is none of this authority, or it ends soon; return whether it did."""
        current = read(directory / "cert.pem")
        if current and expiry(current) - clock.now() > RENEW_BEFORE and self._has_issued(current):
            return False
        self.issue_for_client(directory, name, days)
        return True

    def _has_issued(self, certificate: x509.Certificate) -> bool:
        return is_issued_by(certificate, self.certificate)

    def _issue(
        self,
        directory: Path,
        name: str,
        usage: x509.ObjectIdentifier,
        hosts: Sequence[str],
        days: int,
        mode: int,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        valid_for = datetime.timedelta(days=days)
        builder = (
            _builder(common_name(name), self.certificate.subject, key.public_key(), valid_for)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        plain = key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(directory / "ca.pem", self.certificate.public_bytes(PEM), 0o644)
        write(directory / "key.pem", plain, mode)
        write(directory / "cert.pem", certificate.public_bytes(PEM), 0o644)


def read(path: Path) -> x509.Certificate | None:
    """Return a certificate; None without the file, or if it can't be read."""
    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(path.read_bytes())
    return None


def expiry(certificate: x509.Certificate) -> datetime.datetime:
    at: datetime.datetime = certificate.not_valid_after_utc
    return at


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - of the wrong name, signature or kind of key
        return False
    return True


def problem_with_client(directory: Path) -> str:
    """Return what is wrong with the portal's files, with the remedy; empty if nothing is."""
    certificate, authority = read(directory / "cert.pem"), read(directory / "ca.pem")
    if not certificate or not authority:
        return f"cert.pem or ca.pem in {directory} isn't a certificate. {REMEDY}"
    if expiry(certificate) <= clock.now():
        return f"The portal's certificate expired on {expiry(certificate):%Y-%m-%d}. {REMEDY}"
    if not is_issued_by(certificate, authority):
        return f"The portal's certificate isn't one of the authority in ca.pem. {REMEDY}"
    return ""


REMEDY = "Renew it with `manage.py engine issue-certificate --portal`."


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file for its directory's group, with this mode; replace one that exists at once."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchown(file.fileno(), -1, path.parent.stat().st_gid)
        file.write(content)
    new.replace(path)


def _general_name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(host))
    return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    valid_for: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED_BY)
        .not_valid_after(now + valid_for)
    )
