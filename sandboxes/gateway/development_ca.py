"""A certificate authority for trying the gateway, and a wildcard certificate from it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sandboxes.lib.x509_parts import common_name, key_usage

VALID_FOR = datetime.timedelta(days=365)
BACKDATED_BY = datetime.timedelta(hours=1)
"""For clients whose clock is behind."""


def write(directory: Path, domain: str, hosts: Sequence[str] = ()) -> tuple[Path, Path, Path]:
    """Write a new authority's certificate, and a certificate for `*.domain` with its key.

    The certificate is also valid for `hosts`. Return the three paths. The authority's key isn't
    kept, so it can't be misused.
    """
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = common_name(f"Development authority of {domain}")
    authority = (
        _builder(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        # Clients that trust it don't trust it for any other host.
        .add_extension(
            x509.NameConstraints(
                permitted_subtrees=[x509.DNSName(name) for name in (domain, *hosts)],
                excluded_subtrees=None,
            ),
            critical=True,
        )
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName(name) for name in (f"*.{domain}", domain, *hosts)]
    certificate = (
        _builder(common_name(domain), authority_name, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = tuple(directory / name for name in ("ca.pem", "certificate.pem", "key.pem"))
    pem = serialization.Encoding.PEM
    key_text = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(paths[0], authority.public_bytes(pem), 0o644)
    _write(paths[1], certificate.public_bytes(pem), 0o644)
    _write(paths[2], key_text, 0o600)
    return paths[0], paths[1], paths[2]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED_BY)
        .not_valid_after(now + VALID_FOR)
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file with this mode; replace one that exists at once."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)
