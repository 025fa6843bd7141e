"""The number of database queries of one launch."""

from __future__ import annotations

import pytest
from django.urls import reverse

from sandboxes.models import EventType, State
from sandboxes.webhooks import endpoints
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import launch, sweep

pytestmark = pytest.mark.django_db

MAX_API_QUERIES, MAX_PAGE_QUERIES = 18, 24


@pytest.fixture
def cold_launch(alice, runtime, settings):
    """Give Alice a webhook, a rate limit and an earlier launch; the pool is empty."""
    settings.SANDBOX_LAUNCHES_PER_HOUR = 10
    settings.WEBHOOK_ALLOW_PRIVATE_NETWORKS = True
    endpoints.create(alice, "https://example.com/hook", EventType.values)
    launch(alice)


@pytest.fixture
def warm_launch(runtime, settings):
    """Fill the pool with one sandbox."""
    settings.SANDBOX_POOL_SIZE = 1
    sweep()


def test_a_launch_by_api_takes_few_queries(alice, cold_launch, django_assert_max_num_queries):
    program = ApiClient(alice)
    with django_assert_max_num_queries(MAX_API_QUERIES):
        assert program.post("/sandboxes", {}, Idempotency_Key="once").status_code == 201


def test_a_launch_from_the_page_takes_few_queries(
    alice, cold_launch, client, django_assert_max_num_queries
):
    client.force_login(alice)
    with django_assert_max_num_queries(MAX_PAGE_QUERIES):
        client.post(reverse("launch"), {"key": "once"}, headers={"HX-Request": "true"})
    assert alice.sandboxes.count() == 2


def test_a_warm_launch_by_api_takes_few_queries(alice, warm_launch, django_assert_max_num_queries):
    program = ApiClient(alice)
    with django_assert_max_num_queries(MAX_API_QUERIES):
        created = program.post("/sandboxes", {}, Idempotency_Key="once")
    assert created.json()["state"] == "running"


def test_a_warm_launch_from_the_page_takes_few_queries(
    alice, warm_launch, client, django_assert_max_num_queries
):
    client.force_login(alice)
    with django_assert_max_num_queries(MAX_PAGE_QUERIES):
        client.post(reverse("launch"), {"key": "once"}, headers={"HX-Request": "true"})
    assert alice.sandboxes.get().state == State.RUNNING
