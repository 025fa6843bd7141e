"""Stellar key pairs in StrKey encoding (SEP-23)."""

from __future__ import annotations

from base64 import b32encode
from binascii import crc_hqx

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_KEY, SECRET_SEED = 6 << 3, 18 << 3  # SEP-23: "G…" and "S…"


def _str_key(version: int, raw: bytes) -> str:
    """Return a SEP-23 StrKey: base32 of a version byte, the key and a CRC16-XModem of both."""
    payload = bytes([version]) + raw
    return b32encode(payload + crc_hqx(payload, 0).to_bytes(2, "little")).decode()


def new_key_pair() -> tuple[str, str]:
    """Return a new public key (`G…`) and its secret seed (`S…`)."""
    pair = Ed25519PrivateKey.generate()
    public_key = _str_key(PUBLIC_KEY, pair.public_key().public_bytes_raw())
    return public_key, _str_key(SECRET_SEED, pair.private_bytes_raw())
