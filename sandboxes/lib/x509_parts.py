"""Parts that the certificates of both authorities of the portal have."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID


def common_name(text: str) -> x509.Name:
    """Return a name of at most 64 characters, which is all that common names may have."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return what the key of an authority, or of a certificate from one, may be used for."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
