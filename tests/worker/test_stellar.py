"""Payments to the Stellar accounts of sandboxes: found at Horizon, reported to the sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import stellar_sdk

from sandboxes import stellar
from sandboxes.models import Funding, Sandbox
from sandboxes.webhooks.inbox import feeds
from sandboxes.webhooks.inbox.source import Page, ReadEvent
from sandboxes.worker import stellar as watcher
from tests.fakes.sandbox_api import Reply, SandboxApi, with_api_address
from tests.helpers.scenarios import launch, reload

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from tests.fakes.horizon import Horizon

pytestmark = pytest.mark.django_db
EXPECTED, TRANSFERS = "/v1/stellar_payments", "/v1/stellar_transfers"


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    found = with_api_address(launch(alice), api.address)
    Sandbox.objects.filter(pk=found.pk).update(funding=Funding.FUNDED)
    return reload(found)


def expect(api: SandboxApi, *hashes: str | None) -> None:
    rows = [{"id": "stp_1", "transaction_hash": one} for one in hashes]
    api.replies[EXPECTED] = Reply(200, json.dumps({"data": rows}).encode())
    api.replies[TRANSFERS] = Reply(200)


def reported(api: SandboxApi) -> dict[str, Any]:
    assert api.asked[-1].target == TRANSFERS
    body: dict[str, Any] = json.loads(api.asked[-1].body)
    return body


def test_payments_to_the_account_are_reported_while_the_sandbox_waits(
    sandbox: Sandbox, api: SandboxApi, horizon: Horizon
) -> None:
    expect(api, None)
    account = sandbox.stellar_public_key
    first = horizon.pay(account, "49.0000000", "pay_007")
    issued = {"asset_type": "credit_alphanum4", "asset_code": "USDC", "asset_issuer": account}
    horizon.pay(account, "5.0000000", **issued)
    horizon.pay(account, "1.0000000", type="create_account")
    horizon.pay("GELSEWHERE", "1.0000000", **{"from": account})
    assert watcher.check(sandbox.pk) == watcher.POLL_SECONDS
    found = reported(api)["transfers"]
    assert [(one["hash"], one["memo"], one["asset"]) for one in found] == [
        (first, "pay_007", "native"),
        (f"{2:064x}", "", f"USDC:{account}"),
    ]
    assert api.asked[-1].headers["authorization"] == f"Bearer {sandbox.secrets['PORTAL_KEY']}"
    assert reload(sandbox).last_activity_at == sandbox.last_activity_at
    expect(api)
    assert watcher.check(sandbox.pk) is None


def test_a_transaction_is_found_by_its_hash_or_reported_as_missing(
    sandbox: Sandbox, api: SandboxApi, horizon: Horizon
) -> None:
    by_hash = horizon.pay("GELSEWHERE", "49.0000000", "pay_007")
    expect(api, by_hash, "f" * 64, "../accounts")
    watcher.check(sandbox.pk)
    assert [one["destination"] for one in reported(api)["transfers"]] == ["GELSEWHERE"]
    assert reported(api)["missing"] == ["f" * 64]


@pytest.mark.parametrize(
    ("case", "words"),
    [("failing", "returned 503"), ("away", "can't reach"), ("off", "doesn't look")],
)
def test_a_sandbox_is_told_why_no_payment_is_found(
    case: str,
    words: str,
    sandbox: Sandbox,
    api: SandboxApi,
    horizon: Horizon,
    settings: SettingsWrapper,
) -> None:
    horizon.status = 503
    if case != "failing":
        settings.HORIZON_URL = {"away": "http://127.0.0.1:1", "off": ""}[case]
    expect(api, None)
    assert watcher.check(sandbox.pk) == watcher.PAUSE_SECONDS
    assert words in reported(api)["problem"]


def test_an_event_of_a_sandbox_lets_the_portal_look(
    sandbox: Sandbox, api: SandboxApi, horizon: Horizon
) -> None:
    feed = sandbox.feed
    feeds.store(feed.pk, feed.epoch, Page([ReadEvent("evt_1", "stellar_payment.created", "{}")]))
    due: dict[int, float] = {}
    watcher._take_requested(due)
    assert sandbox.pk in due


def test_the_double_answers_as_the_sdk_expects(horizon: Horizon) -> None:
    account = stellar_sdk.Keypair.random().public_key
    horizon.pay(account, "1.0000000", "first")
    horizon.pay(account, "2.0000000")
    server = stellar_sdk.Server(horizon.url)
    answer = server.payments().for_account(account).order(desc=True).limit(1)
    [record] = answer.join("transactions").call()["_embedded"]["records"]
    assert (record["amount"], record["transaction"]["memo_type"]) == ("2.0000000", "none")
    assert [one.memo for one in stellar.latest_transfers(account)] == ["first", ""]
    with pytest.raises(stellar_sdk.exceptions.NotFoundError):
        server.payments().for_transaction("f" * 64).call()
