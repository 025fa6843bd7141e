"""A JSON field that is encrypted at rest, with keys other than SECRET_KEY."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

if TYPE_CHECKING:
    TextField = models.TextField[dict[str, str], dict[str, str]]
else:
    TextField = models.TextField


class DecryptionError(Exception):
    """A value can't be decrypted with the configured keys."""


@cache
def _fernet_for(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def get_fernet() -> MultiFernet:
    """Return the configured keys: the first encrypts, all decrypt, so that keys can be rotated.

    Raises ImproperlyConfigured if there are none.
    """
    if not settings.SANDBOX_ENCRYPTION_KEYS:
        raise ImproperlyConfigured(
            "SANDBOX_ENCRYPTION_KEYS is empty; create a key with `python -c "
            '"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`.'
        )
    return _fernet_for(tuple(settings.SANDBOX_ENCRYPTION_KEYS))


def _encrypt(value: dict[str, str]) -> str:
    return get_fernet().encrypt(json.dumps(value).encode()).decode() if value else ""


def _decrypt(text: str | None) -> dict[str, str]:
    if not text:
        return {}
    try:
        value: dict[str, str] = json.loads(get_fernet().decrypt(text))
    except InvalidToken as error:
        raise DecryptionError(
            "These secrets were encrypted with a key that is not in SANDBOX_ENCRYPTION_KEYS; "
            "put it back at the end of the list."
        ) from error
    return value


class EncryptedJSONField(TextField):
    """A JSON object stored as a Fernet token; an empty string is an empty object."""

    def get_prep_value(self, value: Any) -> str:
        return _encrypt(value)

    def from_db_value(self, value: str | None, *_: object) -> dict[str, str]:
        return _decrypt(value)

    def to_python(self, value: Any) -> dict[str, str]:
        """Return the value; decrypt it if it comes from a dump."""
        return _decrypt(value) if isinstance(value, str) else value or {}

    def value_to_string(self, obj: models.Model) -> str:
        """Return the ciphertext, so that `dumpdata` doesn't reveal secrets."""
        return _encrypt(self.value_from_object(obj))
