"""Access to the admin, and its pages on sandboxes."""

from __future__ import annotations

import pytest

from sandboxes import actions
from sandboxes.accounts import api_tokens
from sandboxes.models import Event, LimitOverride, Maintenance, State
from tests.helpers.admin import SANDBOXES, page_of
from tests.helpers.scenarios import (
    launch,
    reload,
    run_on_commit,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


@pytest.mark.parametrize(
    "path",
    ["", "sandboxes/sandbox/", "sandboxes/maintenance/", "sandboxes/apitoken/", "auth/user/"],
)
def test_developers_cannot_open_the_admin(client, alice, path):
    client.force_login(alice)
    answer = client.get(f"/admin/{path}")

    assert answer.status_code in (302, 403)


def test_operators_use_the_normal_sign_in_page(client):
    answer = client.get("/admin/", follow=True)

    assert answer.redirect_chain[-1][0].startswith("/accounts/login/")


@pytest.mark.store
def test_every_page_of_the_admin_opens(admin_client, alice):
    sandbox = launch(alice)
    token, _ = api_tokens.issue(alice, "laptop")
    override = LimitOverride.objects.create(user=alice, max_active=5, reason="workshop")
    event = Event.objects.first()
    rows = [sandbox, token, override, event, Maintenance.current(), alice]

    pages = [page_of(row) for row in rows]
    lists = [page.rsplit("/", 3)[0] + "/" for page in pages]
    for url in ["/admin/", *lists, *pages, lists[2] + "add/", "/admin/mfa/authenticator/"]:
        assert admin_client.get(url, follow=True).status_code == 200, url


@pytest.mark.store
def test_the_list_shows_owner_and_expiry(admin_client, alice, bob):
    mine, his = launch(alice, name="Checkout"), launch(bob)
    with run_on_commit():
        actions.destroy(his, bob)
    page = admin_client.get(SANDBOXES).content.decode()

    for text in (mine.public_id, "Checkout", "alice@example.com", "Stops at"):
        assert text in page
    assert "destroyed by its owner" in page


@pytest.mark.store
@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("?q=alice@", {"mine"}),
        ("?q=Check", {"mine"}),
        ("?state__exact=running", {"mine"}),
        ("?state__exact=destroyed", {"his"}),
        ("?end_reason__exact=user", {"his"}),
        ("?blueprint=billing", {"mine", "his"}),
        ("?funding__exact=funded", set()),
        ("?removal_error__isempty=0", set()),
    ],
)
def test_sandboxes_are_searched_and_filtered(admin_client, alice, bob, question, found):
    rows = {"mine": launch(alice, name="Checkout"), "his": launch(bob)}
    with run_on_commit():
        actions.destroy(rows["his"], bob)
    page = admin_client.get(SANDBOXES + question).content.decode()

    assert {name for name, row in rows.items() if row.public_id in page} == found


@pytest.mark.store
def test_a_sandbox_is_found_by_id(admin_client, alice):
    mine, other = launch(alice), launch(alice)
    page = admin_client.get(SANDBOXES, {"q": mine.public_id}).content.decode()

    assert f"<code>{mine.public_id}</code>" in page
    assert other.public_id not in page


@pytest.mark.store
def test_the_lists_need_a_constant_number_of_queries(
    admin_client, alice, settings, django_assert_max_num_queries
):
    settings.SANDBOX_MAX_PER_USER = 40
    for _ in range(30):
        api_tokens.issue(alice, "laptop")
        launch(alice)
    for url in (SANDBOXES, "/admin/sandboxes/event/", "/admin/sandboxes/apitoken/"):
        with django_assert_max_num_queries(16):
            admin_client.get(url)


def test_the_sandbox_page_shows_activity_and_extensions(admin_client, alice):
    sandbox = launch(alice)
    actions.extend(sandbox, 25, alice)
    page = admin_client.get(page_of(sandbox)).content.decode()

    assert "Extended by 25 minutes." in page
    assert "Ready after" in page
    assert "api" in page
    assert "soft limit" in page


def test_a_failed_sandbox_shows_the_failure_and_last_log_lines(admin_client, alice, runtime):
    sandbox = launch(alice)
    runtime.write_log(sandbox.public_id, "api", "<b>no route</b>")
    runtime.stop_service(sandbox.public_id, "api", 3)
    sweep()
    page = admin_client.get(page_of(sandbox)).content.decode()

    assert "api, exit code 3" in page
    assert "&lt;b&gt;no route&lt;/b&gt;" in page


def test_no_page_shows_secrets(admin_client, alice):
    sandbox = launch(alice)
    token, text = api_tokens.issue(alice, "laptop")
    pages = [
        admin_client.get(url).content.decode()
        for url in (SANDBOXES, page_of(sandbox), page_of(token), page_of(alice))
    ]

    values = [*sandbox.secrets.values(), text[8:], token.digest]
    assert not [value for value in values for page in pages if value in page]


def test_sandbox_fields_are_read_only(admin_client, alice):
    sandbox = launch(alice)
    page = admin_client.get(page_of(sandbox))
    admin_client.post(page_of(sandbox), {"state": "destroyed", "name": "hacked"})

    assert not page.context["adminform"].form.fields
    assert "_save" not in page.content.decode()
    assert (reload(sandbox).state, reload(sandbox).name) == (State.RUNNING, sandbox.name)


@pytest.mark.parametrize(
    "path", ["sandbox/add/", "event/add/", "apitoken/add/", "maintenance/add/"]
)
def test_rows_of_the_portal_cannot_be_added(admin_client, path):
    assert admin_client.get(f"/admin/sandboxes/{path}").status_code == 403


def test_the_journal_cannot_be_deleted(admin_client, alice):
    sandbox = launch(alice)
    for row in (
        sandbox,
        Event.objects.first(),
        api_tokens.issue(alice, "laptop")[0],
        Maintenance.current(),
    ):
        url = page_of(row).replace("/change/", "/delete/")
        assert admin_client.post(url, {"post": "yes"}).status_code == 403
    assert "delete_selected" not in admin_client.get(SANDBOXES).content.decode()
