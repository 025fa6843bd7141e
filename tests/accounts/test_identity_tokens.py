"""CI jobs exchange identity tokens for API tokens, by operators' rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.cache import cache
from django.test import Client

from sandboxes.accounts import api_tokens
from sandboxes.accounts.grants.identity_tokens import MAX_LENGTH
from sandboxes.lib import clock
from sandboxes.models import ApiToken, IdentityRule, LimitOverride, Scope, UsedIdentityToken
from tests.fakes.identity_issuer import IdentityIssuer, ec_key, rsa_key, running_issuer

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


@pytest.fixture(scope="module")
def server() -> Iterator[IdentityIssuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(server: IdentityIssuer) -> IdentityIssuer:
    cache.clear()
    server.fails = False
    server.paths.clear()
    return server


@pytest.fixture
def rule(issuer: IdentityIssuer, alice: User) -> IdentityRule:
    return IdentityRule.objects.create(
        name="shop",
        issuer=issuer.url,
        audience="https://portal.example.com",
        claims={"repository": "acme/shop"},
        user=alice,
        scope=Scope.LAUNCH,
        token_minutes=30,
    )


def exchange(token: str, **changed: str) -> tuple[int, dict[str, Any]]:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": ID_TOKEN,
    }
    response = Client().post("/api/v1/token", form | changed)
    return response.status_code, response.json()


def refusal(token: str, **changed: str) -> str:
    status, body = exchange(token, **changed)
    assert (status, body["error"]) == (400, "invalid_grant"), body
    assert not ApiToken.objects.exists()
    return str(body["error_description"])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_job_gets_a_token_of_the_rules_account(
    issuer: IdentityIssuer, rule: IdentityRule, alice: User, algorithm: str
) -> None:
    key, kid = (rsa_key(), "rsa") if algorithm == "RS256" else (ec_key(), "ec")
    status, body = exchange(issuer.token(key, algorithm, kid, aud=["other", rule.audience]))
    assert status == 200, body
    assert (body["scope"], body["expires_in"]) == ("launch", 1800)
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    token = api_tokens.authenticate(body["access_token"])
    assert token and token.expires_at
    assert (token.user, token.scope, token.name) == (alice, "launch", "CI: shop")
    assert token.expires_at - clock.now() <= timedelta(minutes=30)


def test_each_identity_token_is_accepted_once(issuer: IdentityIssuer, rule: IdentityRule) -> None:
    token = issuer.token()
    assert exchange(token)[0] == 200
    status, body = exchange(token)
    assert (status, body["error"]) == (400, "invalid_grant")
    assert "exchanged before" in body["error_description"]
    assert ApiToken.objects.count() == 1


def test_used_identity_tokens_are_forgotten_once_they_have_expired(
    issuer: IdentityIssuer, rule: IdentityRule
) -> None:
    UsedIdentityToken.objects.create(digest="old", expires_at=clock.now() - timedelta(minutes=1))
    assert exchange(issuer.token())[0] == 200
    assert not UsedIdentityToken.objects.filter(digest="old").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"aud": "https://other.example.com"}, "no rule accepts its audience and claims"),
        ({"repository": "acme/other"}, "no rule accepts"),
        ({"repository": ["acme/shop"]}, "no rule accepts"),
        ({"repository": None}, "no rule accepts"),
        ({"iss": "https://ci.example.com"}, "No rule of this portal trusts the issuer"),
        ({"exp": 1_700_000_000}, "expired"),
        ({"exp": 9_999_999_999}, "more than a day"),
        ({"iat": 9_999_999_999}, "not yet valid"),
        ({"jti": None}, "jti"),
        ({"exp": None}, "exp"),
        ({"kid": "unknown"}, "no key for this token"),
        ({"kid": "ec"}, "isn't valid"),
    ],
)
def test_a_token_that_no_rule_accepts_is_refused(
    issuer: IdentityIssuer, rule: IdentityRule, changed: dict[str, Any], message: str
) -> None:
    assert message in refusal(issuer.token(**changed))


def test_tokens_that_are_not_signed_by_the_issuer_are_refused(
    issuer: IdentityIssuer, rule: IdentityRule
) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert "isn't valid" in refusal(issuer.token(stranger))
    for forged in (
        issuer.token(b"x" * 64, "HS256"),
        jwt.encode(issuer.claims(), None, algorithm="none", headers={"kid": "rsa"}),
        issuer.token(rsa_key(), "RS512"),
    ):
        assert "must be signed with RS256 or ES256" in refusal(forged)
    assert "isn't a JWT" in refusal("sbp_token")
    assert "too long" in refusal("x" * (MAX_LENGTH + 1))


def test_only_issuers_of_rules_in_force_are_asked(
    issuer: IdentityIssuer, rule: IdentityRule, alice: User
) -> None:
    for user_is_active, enabled in ((True, False), (False, True)):
        rule.enabled, alice.is_active = enabled, user_is_active
        rule.save()
        alice.save()
        assert "No rule" in refusal(issuer.token())
    assert issuer.paths == []


def test_keys_are_kept_and_unknown_ones_make_no_flood_of_requests(
    issuer: IdentityIssuer, rule: IdentityRule
) -> None:
    for kid in ("rsa", "new", "newer", "rsa"):
        exchange(issuer.token(kid=kid))
    assert issuer.paths.count("/keys") == 2


def test_an_issuer_that_fails_is_reported_as_such(
    issuer: IdentityIssuer, rule: IdentityRule
) -> None:
    issuer.fails = True
    status, body = exchange(issuer.token())
    assert (status, body["error"]) == (503, "temporarily_unavailable")


def test_a_job_may_ask_for_less_than_the_rule_allows_but_not_for_more(
    issuer: IdentityIssuer, rule: IdentityRule
) -> None:
    assert exchange(issuer.token(), scope="read")[1]["scope"] == "read"
    assert exchange(issuer.token(), scope="all")[1]["error"] == "invalid_scope"
    assert exchange(issuer.token(), subject_token_type="x")[1]["error"] == "invalid_request"


FORM = {
    "name": "shop",
    "issuer": "https://ci.example.com",
    "audience": "https://portal.example.com",
    "claims": '{"repository": "acme/shop"}',
    "scope": "all",
    "token_minutes": 60,
    "enabled": "on",
    "max_active": 7,
    "reason": "Tests of the shop.",
}
ADMIN = "/admin/sandboxes/identityrule/"


def test_operators_add_rules_and_the_quota_of_the_account(
    admin_client: Client, alice: User
) -> None:
    admin_client.post(f"{ADMIN}add/", FORM | {"user": alice.pk})
    assert IdentityRule.objects.get().claims == {"repository": "acme/shop"}
    assert LimitOverride.objects.get(user=alice).max_active == 7


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "http://ci.example.com"},
        {"claims": "{}"},
        {"claims": '{"repository": 1}'},
        {"token_minutes": 100_000},
        {"audience": ""},
    ],
)
def test_rules_that_are_too_wide_are_refused(
    admin_client: Client, alice: User, changed: dict[str, Any]
) -> None:
    page = admin_client.post(f"{ADMIN}add/", FORM | {"user": alice.pk} | changed)
    assert page.status_code == 200 and not IdentityRule.objects.exists()


def test_restricting_a_rule_revokes_the_tokens_of_its_jobs(
    admin_client: Client, issuer: IdentityIssuer, rule: IdentityRule
) -> None:
    token = exchange(issuer.token())[1]["access_token"]
    changed = FORM | {"user": rule.user_id, "issuer": rule.issuer, "scope": "launch"}
    admin_client.post(f"{ADMIN}{rule.pk}/change/", changed | {"token_minutes": 10})
    assert api_tokens.authenticate(token)
    admin_client.post(f"{ADMIN}{rule.pk}/change/", changed | {"enabled": ""})
    assert not api_tokens.authenticate(token)
