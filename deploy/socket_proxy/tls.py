"""Certificates on both sides of a connection over the network.

A client with the right certificate can do what the portal can do. So being of the portal's
authority isn't enough, since each engine has a certificate of it: one has to be for a client, and
to name it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

AUTHORITY, CERTIFICATE, KEY = FILES = ("ca.pem", "cert.pem", "key.pem")


class CertificatesUnusable(Exception):
    """The files of the certificates are missing, or don't belong together."""


class Certificates:
    """The proxy's certificate and key, and the authority of its clients.

    New files are used from the next connection on.
    """

    def __init__(self, directory: Path) -> None:
        """Raise CertificatesUnusable."""
        self.directory = directory
        self._loaded = self._times()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """Return what the next connection needs."""
        # Files that are being replaced, one by one, can't be used yet.
        with suppress(CertificatesUnusable):
            if (times := self._times()) != self._loaded:
                self._context, self._loaded = self._load(), times
        return self._context

    def _times(self) -> list[int]:
        try:
            return [(self.directory / name).stat().st_mtime_ns for name in FILES]
        except OSError as error:
            raise CertificatesUnusable(f"{error.filename}: {error.strerror}") from error

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session would outlive the client's certificate.
        context.num_tickets = 0
        try:
            context.load_verify_locations(self.directory / AUTHORITY)
            context.load_cert_chain(self.directory / CERTIFICATE, self.directory / KEY)
        except (OSError, ValueError) as error:
            raise CertificatesUnusable(f"{self.directory}: {error}") from error
        return context


def common_name(certificate: Mapping[str, Any]) -> str:
    """Return the common name of a verified certificate; empty if it has none, or several."""
    names = [
        value
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    return str(names[0]) if len(names) == 1 else ""
