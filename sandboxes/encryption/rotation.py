"""Key rotation: encrypt all values at rest with the first key.

A run may be interrupted and repeated; it continues with the remaining values. Values that changed
or were wiped since they were read are left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db.models import Model, QuerySet, TextField, Value
from django.db.models.functions import Cast

from sandboxes.encryption.fields import EncryptedJSONField, get_fernet

UNKNOWN_KEY = 0
"""Key number of values that no key decrypts."""
BATCH_SIZE = 200
FERNET_PREFIX = "gAAAA"
"""Prefix of all Fernet tokens: version 0x80, and the leading zeros of the timestamp."""


@dataclass(frozen=True)
class EncryptedValue:
    """The ciphertexts of one row; `replace` stores others if the row hasn't changed."""

    texts: list[str]
    replace: Callable[[list[str]], bool]


def encrypted_values() -> Iterator[EncryptedValue]:
    """Yield all encrypted values of the database, in batches of rows."""
    for model in apps.get_app_config("sandboxes").get_models():
        for field in model._meta.concrete_fields:  # noqa: SLF001 - documented API of Django
            if isinstance(field, EncryptedJSONField) and not model._meta.proxy:  # noqa: SLF001
                yield from _of_column(model, field.name)
    for row in _in_batches(Authenticator.objects.all()):
        if texts := _texts(row.data):
            yield EncryptedValue(texts, _in_data_of(row))


def _of_column(model: type[Model], name: str) -> Iterator[EncryptedValue]:
    manager: Any = model._default_manager  # noqa: SLF001 - as above
    rows = manager.annotate(at_rest=Cast(name, TextField())).only("pk")
    for row in _in_batches(rows.exclude(at_rest="")):

        def replace(new: list[str], row: Any = row) -> bool:
            same = rows.filter(pk=row.pk, at_rest=row.at_rest)
            return bool(same.update(**{name: Value(new[0], TextField())}))

        yield EncryptedValue([row.at_rest], replace)


def _in_batches(rows: QuerySet[Any]) -> Iterator[Any]:
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:BATCH_SIZE]):
        yield from batch
        last = batch[-1].pk


def _texts(data: Any) -> list[str]:
    """Return the ciphertexts in a JSON value."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return [text for part in data for text in _texts(part)]
    return [data] if isinstance(data, str) and data.startswith(FERNET_PREFIX) else []


def _in_data_of(row: Authenticator) -> Callable[[list[str]], bool]:
    def replace(new: list[str]) -> bool:
        changes = dict(zip(_texts(row.data), new, strict=True))
        same = Authenticator.objects.filter(pk=row.pk, data=row.data)
        return bool(same.update(data=_with(changes, row.data)))

    return replace


def _with(changes: dict[str, str], data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _with(changes, part) for name, part in data.items()}
    if isinstance(data, list):
        return [_with(changes, part) for part in data]
    return changes.get(data, data) if isinstance(data, str) else data


def key_usage() -> Counter[int]:
    """Return how many ciphertexts each key decrypts, by the number of the key, from 1."""
    keys = [Fernet(key) for key in settings.SANDBOX_ENCRYPTION_KEYS]
    return Counter(_number(text, keys) for place in encrypted_values() for text in place.texts)


def _number(text: str, keys: list[Fernet]) -> int:
    return next((number for number, key in enumerate(keys, 1) if _opens(key, text)), UNKNOWN_KEY)


def _opens(key: Fernet, text: str) -> bool:
    try:
        key.decrypt(text)
    except InvalidToken:
        return False
    return True


def rotate() -> Counter[str]:
    """Encrypt values again that the first key doesn't decrypt.

    Returns the numbers of values that were `rotated`, were `overtaken` by another change, or are
    `lost`, because no key decrypts them.
    """
    first, done = Fernet(settings.SANDBOX_ENCRYPTION_KEYS[0]), Counter[str]()
    for place in encrypted_values():
        if all(_opens(first, text) for text in place.texts):
            continue
        try:
            new = [get_fernet().rotate(text.encode()).decode() for text in place.texts]
        except InvalidToken:
            done["lost"] += 1
            continue
        done["rotated" if place.replace(new) else "overtaken"] += 1
    return done
