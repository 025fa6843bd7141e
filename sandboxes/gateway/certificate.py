"""The wildcard certificate in files: whether it can be used, until when, and when it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.conf import settings

from sandboxes.lib import clock

RENEW_BEFORE = timedelta(days=14)
"""Certificates are usually renewed 30 days before they expire."""
VARIABLES = ("SANDBOX_GATEWAY_CERTIFICATE", "SANDBOX_GATEWAY_KEY")

Problem = tuple[str, str]
"""What is wrong, and how to correct it."""


def read() -> x509.Certificate | None:
    """Return the certificate; None without a file, or if it can't be read."""
    if settings.SANDBOX_GATEWAY_CERTIFICATE:
        with suppress(OSError, ValueError):
            return x509.load_pem_x509_certificate(
                Path(settings.SANDBOX_GATEWAY_CERTIFICATE).read_bytes()
            )
    return None


def fingerprint() -> str:
    """Return a text that changes with the files; empty while the certificate can't be read.

    The key is represented by its time of modification, because only the gateway has to read it.
    """
    try:
        digest = hashlib.sha256(Path(settings.SANDBOX_GATEWAY_CERTIFICATE).read_bytes())
    except OSError:
        return ""
    with suppress(OSError):
        digest.update(str(Path(settings.SANDBOX_GATEWAY_KEY).stat().st_mtime_ns).encode())
    return digest.hexdigest()[:16]


def covers(certificate: x509.Certificate, domain: str) -> bool:
    """Return whether the certificate is valid for the host names of sandboxes."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    dns = names.value.get_values_for_type(x509.DNSName)
    return f"*.{domain}" in [name.lower() for name in dns]


def remaining(certificate: x509.Certificate) -> timedelta:
    """Return the time until the certificate expires; negative once it has."""
    return certificate.not_valid_after_utc - clock.now()


def expiry(certificate: x509.Certificate) -> str:
    """Return when the certificate expires, as the end of a sentence."""
    at: datetime = certificate.not_valid_after_utc
    return f"expires on {at:%Y-%m-%d}, in {max(0, remaining(certificate).days)} days"


def problems(domain: str, *, must_read_key: bool) -> Iterator[Problem]:
    """Yield what is wrong with the files.

    Only the gateway must read the key: with `must_read_key`, this process has to be able to.
    """
    contents = {}
    for variable in VARIABLES:
        path = getattr(settings, variable)
        try:
            contents[variable] = Path(path).read_bytes() if path else b""
        except PermissionError:
            if variable == "SANDBOX_GATEWAY_KEY" and not must_read_key:
                continue
            yield _unreadable(variable, path)
            return
        except OSError:
            yield _unreadable(variable, path)
            return
        if not path:
            yield _unreadable(variable, path)
            return
    try:
        certificate = x509.load_pem_x509_certificate(contents["SANDBOX_GATEWAY_CERTIFICATE"])
        key = contents.get("SANDBOX_GATEWAY_KEY")
        public_key = key and serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError):
        yield (
            "SANDBOX_GATEWAY_CERTIFICATE and SANDBOX_GATEWAY_KEY aren't a certificate and its key.",
            "Use a certificate with its chain, and its key without a password, as PEM files.",
        )
        return
    if public_key and certificate.public_key() != public_key:
        yield (
            "SANDBOX_GATEWAY_KEY isn't the key of SANDBOX_GATEWAY_CERTIFICATE.",
            "Use the key with which the certificate was requested.",
        )
    yield from _problems_of(certificate, domain)


def _unreadable(variable: str, path: str) -> Problem:
    return (
        f"{variable}: the file “{path}” can't be read.",
        "Correct the path, or let the gateway's user read the file.",
    )


def _problems_of(certificate: x509.Certificate, domain: str) -> Iterator[Problem]:
    if remaining(certificate) <= timedelta():
        yield (
            f"SANDBOX_GATEWAY_CERTIFICATE expired on {certificate.not_valid_after_utc:%Y-%m-%d}.",
            "Renew it; the gateway loads new files automatically.",
        )
    if certificate.not_valid_before_utc > clock.now():
        start = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        yield (
            f"SANDBOX_GATEWAY_CERTIFICATE is valid only from {start} on.",
            "Check this machine's clock, or wait.",
        )
    if not covers(certificate, domain):
        yield (
            f"SANDBOX_GATEWAY_CERTIFICATE isn't valid for *.{domain}.",
            f"Request a wildcard certificate for *.{domain}.",
        )
