"""The keys of secrets at rest: whether all can be read, and which keys are still needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db.models import TextField
from django.db.models.functions import Cast

from sandboxes import checks
from sandboxes.doctor.engine import from_check
from sandboxes.doctor.findings import Findings, fine, warning, wrong
from sandboxes.secrets import EncryptedJSONField

UNKNOWN = 0
"""Stands for the number of the key of what none of them opens."""


def encryption_keys() -> Findings:
    faults = checks.check_keys()
    yield from map(from_check, faults)
    if not faults:
        yield from judged(which_keys(_tokens()), len(settings.SANDBOX_ENCRYPTION_KEYS))


def _tokens() -> Iterator[str]:
    """All that is encrypted in the database, as it is there."""
    for model in apps.get_app_config("sandboxes").get_models():
        for field in model._meta.concrete_fields:  # noqa: SLF001 - Django's documented way in
            if isinstance(field, EncryptedJSONField):
                raw = model.objects.annotate(raw=Cast(field.name, TextField()))  # type: ignore[attr-defined]
                yield from raw.exclude(raw="").values_list("raw", flat=True).iterator()


def which_keys(tokens: Iterable[str]) -> Counter[int]:
    """How many tokens each key opens, by its number from 1 on."""
    ciphers = [Fernet(key) for key in settings.SANDBOX_ENCRYPTION_KEYS]
    return Counter(_number(token, ciphers) for token in tokens)


def _number(token: str, ciphers: list[Fernet]) -> int:
    for number, cipher in enumerate(ciphers, 1):
        try:
            cipher.decrypt(token)
        except InvalidToken:
            continue
        return number
    return UNKNOWN


def judged(found: Counter[int], keys: int) -> Findings:
    if found[UNKNOWN]:
        yield wrong(
            f"{found[UNKNOWN]} secrets were encrypted with a key that is not known here.",
            "Put it back at the end of SANDBOX_ENCRYPTION_KEYS; without it these are lost.",
        )
    old = sum(count for number, count in found.items() if number > 1)
    if old:
        words = f"{old} secrets are still encrypted with an earlier key."
        yield warning(words, "Keep that key until they are rotated (docs/operations.md).")
    elif keys > 1:
        words = "No secret needs the earlier keys."
        yield warning(words, "Take them off SANDBOX_ENCRYPTION_KEYS, all but the first.")
    if not found[UNKNOWN]:
        yield fine(f"All {found.total()} secrets at rest can be read.")


def earlier_secret_keys() -> Findings:
    earlier = len(settings.SECRET_KEY_FALLBACKS)
    if earlier:
        yield warning(
            f"SECRET_KEY_FALLBACKS has {earlier} earlier keys, which still open sessions.",
            "Take them away when the new one has been in use for two weeks.",
        )
    else:
        yield fine("No earlier SECRET_KEY is in use.")
