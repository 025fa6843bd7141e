"""The OpenAPI document and the Postman collection work in the tools of other vendors."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.explorer import openapi, postman
from tests.billing.harness import API_KEY, ApiClient
from tests.fakes.sandbox_api import billing_document
from tests.openapi import tools

pytestmark = [pytest.mark.postgres, pytest.mark.openapi, pytest.mark.slow]


def test_the_document_has_no_lint_findings(tmp_path: Path) -> None:
    assert tools.lint_findings(billing_document(), tmp_path) == []


def test_newman_gets_a_success_for_every_request_of_the_collection(
    api: ApiClient, tmp_path: Path
) -> None:
    described = openapi.read(json.dumps(billing_document()).encode())
    address = str(api.base_url).rstrip("/")
    auth = Auth(AuthType.BEARER, "api_key")
    collection = postman.build_collection(described, "Billing", address, auth, API_KEY)
    statuses = tools.run_collection(collection, tmp_path)
    assert len(statuses) == len(described.operations)
    assert {name: status for name, status in statuses.items() if status not in (200, 201)} == {}


def test_a_generated_client_reads_and_writes(api: ApiClient, tmp_path: Path) -> None:
    client = tools.generate_client(billing_document(), tmp_path, "billing_client")
    models, operations = client.models, client.api
    session = client.AuthenticatedClient(base_url=str(api.base_url), token=API_KEY)

    page = operations.plans.list_plans.sync(client=session, currency=models.Currency.USD)
    assert page.total == 3 and page.data[0].billing_interval is models.BillingInterval.YEAR
    assert page.data[0].created_at.tzinfo and isinstance(page.data[0].created_at, datetime)
    since = operations.invoices.list_invoices.sync(client=session, created_after=date(2000, 1, 1))
    assert since.total == 20
    none = operations.invoices.list_invoices.sync(client=session, created_after=datetime.now(UTC))
    assert none.total == 0

    body = models.NewInvoice(subscriber_id="sub_010", amount="49.00", currency=models.Currency.EUR)
    made = [
        operations.invoices.create_invoice.sync(client=session, body=body, idempotency_key="once")
        for _ in range(2)
    ]
    assert made[0] == made[1] and made[0].status is models.InvoiceStatus.OPEN
    paid = operations.invoices.pay_invoice.sync(made[0].id, client=session)
    assert paid.status is models.InvoiceStatus.PAID
    problem = operations.invoices.pay_invoice.sync(made[0].id, client=session)
    assert isinstance(problem, models.ProblemDetails) and problem.status == 409
