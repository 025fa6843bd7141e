"""Keys of secrets at rest: whether all secrets can be decrypted, and which keys are needed."""

from __future__ import annotations

from collections import Counter

from django.conf import settings

from sandboxes.checks import runtime
from sandboxes.doctor.engine import from_check
from sandboxes.doctor.findings import Findings, error, ok, warning
from sandboxes.encryption.rotation import UNKNOWN_KEY, key_usage


def encryption_keys() -> Findings:
    faults = runtime.check_keys()
    yield from map(from_check, faults)
    if not faults:
        yield from evaluate(key_usage(), len(settings.SANDBOX_ENCRYPTION_KEYS))


def evaluate(found: Counter[int], keys: int) -> Findings:
    if found[UNKNOWN_KEY]:
        yield error(
            f"{found[UNKNOWN_KEY]} secrets were encrypted with an unknown key.",
            "Add the key at the end of SANDBOX_ENCRYPTION_KEYS; the secrets are lost without it.",
        )
    old = sum(count for number, count in found.items() if number > 1)
    if old:
        words = f"{old} secrets are still encrypted with an earlier key."
        yield warning(words, "Keep that key until `manage.py rotate_keys` has run.")
    elif keys > 1:
        words = "No secret needs the earlier keys."
        yield warning(words, "Remove all keys except the first from SANDBOX_ENCRYPTION_KEYS.")
    if not found[UNKNOWN_KEY]:
        yield ok(f"All {found.total()} secrets at rest can be decrypted.")


def earlier_secret_keys() -> Findings:
    earlier = len(settings.SECRET_KEY_FALLBACKS)
    if earlier:
        yield warning(
            f"SECRET_KEY_FALLBACKS has {earlier} earlier keys, which still open sessions.",
            "Remove them once the new key has been in use for two weeks.",
        )
    else:
        yield ok("No earlier SECRET_KEY is in use.")
