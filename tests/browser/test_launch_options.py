"""The launch form, whose options belong to the selected blueprint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.helpers.blueprints import prepare

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOP = {
    "limits": {"lifetime": {"default": "20m", "max": "45m"}},
    "parameters": {
        "region": {"type": "enum", "values": ["eu", "us"], "default": "eu", "title": "Region"},
        "debug": {"type": "boolean", "default": False, "title": "Debug log", "help": "Log more."},
    },
}


def test_another_blueprint_brings_its_options_and_the_card_shows_what_was_chosen(
    alice: User, page: Page, settings: Any, tmp_path: Path
) -> None:
    prepare(settings, tmp_path, plain={}, shop=SHOP)
    sign_in(page, alice)
    form = page.locator("#launch")
    lifetimes = form.locator(".segment")
    expect(lifetimes).to_have_text(["15 min", "30 min", "1 h", "90 min", "2 h"])
    expect(form.get_by_label("Region")).to_have_count(0)

    form.get_by_label("Name").fill("checkout")
    form.get_by_label("Blueprint").select_option("shop")

    expect(lifetimes).to_have_text(["15 min", "20 min", "30 min"])
    expect(form.get_by_label("Debug log")).to_have_accessible_description("Log more.")
    form.get_by_label("Region").select_option("us")
    form.get_by_label("Debug log").select_option("Yes")
    form.get_by_label("30 min").check()
    form.get_by_role("button", name="Launch sandbox").click()

    card = page.locator("article", has_text="checkout")
    expect(card.locator(".choices .row")).to_have_text(["Region us", "Debug log Yes"])
    expect(form.get_by_label("Region")).to_have_count(0)
    sandbox = alice.sandboxes.get()
    assert sandbox.parameters == {"region": "us", "debug": True}
    assert sandbox.ttl_minutes == 30
