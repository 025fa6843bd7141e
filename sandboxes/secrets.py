"""Secrets at rest: a JSON field that is encrypted with keys of its own, apart from SECRET_KEY."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


@cache
def _ciphers(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def ciphers() -> MultiFernet:
    """The keys in force: the first encrypts, all of them decrypt, so keys can be rotated.

    Raises ImproperlyConfigured when there is none.
    """
    if not settings.SANDBOX_ENCRYPTION_KEYS:
        raise ImproperlyConfigured(
            "SANDBOX_ENCRYPTION_KEYS is empty; make a key with `python -c "
            '"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`.'
        )
    return _ciphers(tuple(settings.SANDBOX_ENCRYPTION_KEYS))


class EncryptedJSONField(models.TextField):
    """A JSON object that the database sees only as a Fernet token; empty means no secrets."""

    def get_prep_value(self, value: Any) -> str:
        return ciphers().encrypt(json.dumps(value).encode()).decode() if value else ""

    def from_db_value(self, value: str | None, *_: object) -> dict[str, str]:
        return json.loads(ciphers().decrypt(value.encode())) if value else {}

    def to_python(self, value: Any) -> dict[str, str]:
        return value or {}

    def value_to_string(self, obj: models.Model) -> str:
        """Ciphertext also in dumps: `dumpdata` is no way round the keys."""
        return self.get_prep_value(self.value_from_object(obj))
