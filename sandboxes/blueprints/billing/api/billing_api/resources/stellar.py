"""Stellar account addresses."""

from __future__ import annotations

from base64 import b32decode
from binascii import crc_hqx

ACCOUNT_VERSION = 6 << 3


def is_address(text: str) -> bool:
    """Return whether this is an account address with a valid checksum.

    StrKey (SEP-23): version byte, 32 bytes of public key and CRC16-XModem in little-endian
    order, encoded in base 32. ``text`` must be 56 characters of that alphabet.
    """
    raw = b32decode(text)
    payload, checksum = raw[:-2], raw[-2:]
    return payload[0] == ACCOUNT_VERSION and crc_hqx(payload, 0).to_bytes(2, "little") == checksum
