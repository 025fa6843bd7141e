"""The signing keys of issuers of identity tokens, by OpenID Connect Discovery.

https://openid.net/specs/openid-connect-discovery-1_0.html
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import jwt
from django.core.cache import cache
from django.core.exceptions import ValidationError

from sandboxes.lib import untrusted_json
from sandboxes.lib.http import client as http_client
from sandboxes.models.accounts.identity_rule import validate_issuer

DISCOVERY_PATH = "/.well-known/openid-configuration"
TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024
KEPT_SECONDS = 3600
REFETCH_SECONDS = 30
"""How soon keys are fetched again if a token names one that isn't among them."""


class IssuerUnavailable(Exception):
    """The keys of the issuer can't be fetched."""


def find(issuer: str, key_id: str) -> jwt.PyJWK | None:
    """Return the key with this id; None if the issuer has no such key.

    Raises IssuerUnavailable. Call it for issuers that an operator trusts, outside a transaction.
    """
    place = f"issuer-keys:{issuer}"
    documents: list[dict[str, Any]] | None = cache.get(place)
    found = _choose(documents or [], key_id)
    if found is None and (documents is None or cache.add(f"{place}:again", 1, REFETCH_SECONDS)):
        documents = _fetch(issuer)
        cache.set(place, documents, KEPT_SECONDS)
        found = _choose(documents, key_id)
    return found


def _choose(documents: list[dict[str, Any]], key_id: str) -> jwt.PyJWK | None:
    for document in documents:
        if document.get("kid") == key_id and document.get("use", "sig") == "sig":
            try:
                return jwt.PyJWK.from_dict(document)
            except jwt.PyJWTError:  # Of a kind that isn't supported.
                return None
    return None


def _fetch(issuer: str) -> list[dict[str, Any]]:
    configuration = _get(issuer.rstrip("/") + DISCOVERY_PATH)
    if configuration.get("issuer") != issuer:
        raise IssuerUnavailable(f"The configuration of {issuer} names another issuer.")
    keys = _get(str(configuration.get("jwks_uri", ""))).get("keys")
    if not isinstance(keys, list):
        raise IssuerUnavailable(f"{issuer} has no list of keys.")
    return [key for key in keys if isinstance(key, dict)]


def _get(url: str) -> dict[str, Any]:
    try:
        validate_issuer(url)
        response = http_client.send(
            "GET",
            url,
            headers=[("Accept", "application/json"), ("Accept-Encoding", "identity")],
            limits=http_client.Limits(TIMEOUT_SECONDS, MAX_BYTES),
            use_proxies=True,
        )
        found = untrusted_json.loads(response.body)
    except (ValidationError, http_client.RequestFailed, OSError, ValueError) as error:
        raise IssuerUnavailable(f"{url} can't be fetched.") from error
    if response.status != HTTPStatus.OK or not response.complete or not isinstance(found, dict):
        raise IssuerUnavailable(f"{url} answers with status {response.status}.")
    return found
