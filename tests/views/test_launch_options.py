"""The options of the launch form that depend on the selected blueprint."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils.html import strip_tags

from sandboxes import actions
from tests.helpers.blueprints import prepare, prepare_with_limits
from tests.helpers.scenarios import launch, run_on_commit

pytestmark = pytest.mark.django_db

SHORT = {"lifetime": {"default": "20m", "max": "45m"}, "active_per_user": 1}


@pytest.fixture
def page(client, alice, settings, tmp_path, runtime) -> Any:
    """Return a client of Alice, and prepare two blueprints; the second one is the default."""
    prepare_with_limits(settings, tmp_path, short=SHORT, long={})
    client.force_login(alice)
    return client


def lifetimes(html: str) -> tuple[list[str], list[str]]:
    """Return the lifetimes to choose from, and the selected ones."""
    inputs = re.findall(r'<input type="radio"\s+name="ttl_minutes"\s+value="(\d+)"([^>]*)>', html)
    return [value for value, _ in inputs], [value for value, rest in inputs if "checked" in rest]


def test_the_form_offers_the_lifetimes_of_the_default_blueprint(page):
    html = page.get("/").content.decode()
    assert lifetimes(html) == (["15", "20", "30"], ["20"])
    assert '<option value="short" selected>' in html


@pytest.mark.parametrize(
    ("query", "offered", "selected"),
    [
        ("blueprint=long", ["15", "30", "60", "90", "120"], "60"),
        ("blueprint=long&ttl_minutes=30", ["15", "30", "60", "90", "120"], "30"),
        ("blueprint=short&ttl_minutes=120", ["15", "20", "30"], "20"),
        ("blueprint=gone&ttl_minutes=x", ["15", "30", "60", "90", "120"], "60"),
    ],
)
def test_another_blueprint_brings_its_own_lifetimes(page, query, offered, selected):
    html = page.get(f"/launch-options/?{query}").content.decode()
    assert lifetimes(html) == (offered, [selected])


def test_a_lifetime_of_another_blueprint_is_rejected_with_the_right_choices(page):
    html = page.post("/sandboxes/", {"key": "k", "blueprint": "short", "ttl_minutes": "90"})
    assert "Choose a lifetime from 15 to 45 minutes." in html.content.decode()
    assert lifetimes(html.content.decode()) == (["15", "20", "30"], ["20"])


def test_the_limit_of_one_blueprint_leaves_the_others(page, alice):
    launch(alice, blueprint="short")

    assert 'name="ttl_minutes"' in page.get("/").content.decode()
    refused = page.post("/sandboxes/", {"key": "k", "blueprint": "short"}).content.decode()
    assert "You&#x27;ve reached the limit of 1 “Short” sandbox." in refused
    page.post("/sandboxes/", {"key": "l", "blueprint": "long"})
    assert alice.sandboxes.filter(blueprint="long").exists()


def test_without_another_blueprint_the_limit_takes_the_place_of_the_form(
    client, alice, settings, tmp_path, runtime
):
    prepare_with_limits(settings, tmp_path, short=SHORT)
    sandbox = launch(alice, name="first")
    client.force_login(alice)

    html = client.get("/").content.decode()

    assert "You&#x27;ve reached the limit of 1 “Short” sandbox." in html
    assert "Destroy the oldest (first)" in " ".join(html.split())
    assert f'data-destroy="{sandbox.public_id}"' in html


PARAMETERS = {
    "region": {
        "type": "enum",
        "values": ["eu", "us"],
        "default": "eu",
        "title": "Region",
        "help": "Where <customers> live.",
    },
    "workers": {"type": "integer", "minimum": 1, "maximum": 8, "default": 2, "title": "Workers"},
    "debug": {"type": "boolean", "default": False, "title": "Debug log"},
}


@pytest.fixture
def choices(client, alice, settings, tmp_path, runtime) -> Any:
    """Return a client of Alice, for a plain default blueprint and one with parameters."""
    prepare(settings, tmp_path, plain={}, shop={"parameters": PARAMETERS})
    client.force_login(alice)
    return client


def test_parameters_are_explained_below_their_fields(choices):
    html = choices.get("/launch-options/?blueprint=shop").content.decode()

    assert 'aria-describedby="id_parameters.region_helptext"' in html
    explained = re.findall(r'<p class="hint"\s+id="id_parameters\.(\w+)_helptext">(.*?)</p>', html)
    assert explained == [
        ("region", "Where &lt;customers&gt; live."),
        ("workers", "From 1 to 8."),
    ]


@pytest.mark.parametrize("button", [{"show_options": "1"}, {}], ids=["show options", "launch"])
def test_without_javascript_another_blueprint_shows_its_options_before_it_is_launched(
    choices, alice, button
):
    assert "Show its options" in choices.get("/").content.decode()
    form = {"key": "k", "blueprint": "shop", "name": "checkout", "options_of": "plain"}
    html = choices.post("/sandboxes/", form | button).content.decode()

    assert not alice.sandboxes.exists()
    assert '<option value="shop" selected>' in html
    assert 'value="checkout"' in html
    assert 'name="parameters.region"' in html
    assert 'name="options_of" value="shop"' in html
    assert ("Check them, then launch." in html) == (not button)

    chosen = {"options_of": "shop", "parameters.region": "us", "parameters.debug": "true"}
    choices.post("/sandboxes/", form | chosen)
    assert alice.sandboxes.get().parameters == {"region": "us", "workers": 2, "debug": True}


def test_an_ended_sandbox_keeps_showing_what_it_was_launched_with(choices, alice):
    chosen = {"region": "us", "debug": True}
    sandbox = launch(alice, blueprint="shop", parameters=chosen, metadata={"build": "1<2"})
    with run_on_commit():
        actions.destroy(sandbox, alice)

    for path in ("/", "/history/", f"/sandboxes/{sandbox.public_id}/"):
        text = " ".join(strip_tags(choices.get(path).content.decode()).split())
        assert "Region us" in text, path
        assert "Debug log Yes" in text
        assert "build 1&lt;2" in text
        # Lists leave defaults out.
        assert ("Workers 2" in text) is path.startswith("/sandboxes/")
