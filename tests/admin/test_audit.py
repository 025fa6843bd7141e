"""Actions of operators are audited with a reason, and entries are immutable."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from io import StringIO

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group

from sandboxes import actions, blueprints
from sandboxes.accounts import api_tokens
from sandboxes.actions import engines, save_points
from sandboxes.admin.base import PortalAdmin, ReadOnlyAdminMixin
from sandboxes.blueprints.document import dump
from sandboxes.lib import clock
from sandboxes.models import (
    AuditEntry,
    AuditIsAppendOnly,
    BlueprintVersion,
    Engine,
    IdentityRule,
    Invitation,
    LimitOverride,
    Maintenance,
    Pool,
    RuntimeSettings,
    SavePoint,
)
from sandboxes.operators import audit
from sandboxes.operators.audit import AuditActor
from sandboxes.webhooks import endpoints
from tests.helpers.admin import page_of, run_action
from tests.helpers.scenarios import launch, request, run_on_commit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

AUDIT = "/admin/sandboxes/auditentry/"
PAGES = sorted(admin.site._registry.values(), key=lambda page: page.opts.label)
ACTS = [(page, question) for page in PAGES for question in getattr(page, "confirmed_actions", ())]
EDITED = [page for page in PAGES if not isinstance(page, ReadOnlyAdminMixin)]
ANSWERS = {"minutes": "20", "force": "on", "password": "a-long-enough-Pa55word", "text": "Hello."}
"""Form data of actions besides the reason."""


def subject(page: admin.ModelAdmin, alice) -> object:
    """Return a row of the page on which all its actions are possible."""
    rows = {
        "sandbox": lambda: launch(alice),
        "apitoken": lambda: api_tokens.issue(alice, "laptop")[0],
        "limitoverride": lambda: LimitOverride.objects.create(user=alice, reason="workshop"),
        "user": lambda: alice,
        "group": lambda: Group.objects.create(name="students"),
        "authenticator": lambda: Authenticator.objects.create(user=alice, type="totp", data={}),
        "emailaddress": lambda: EmailAddress.objects.create(user=alice, email=alice.email),
        "invitation": lambda: Invitation.objects.create(email="dave@partner.net"),
        "identityrule": lambda: IdentityRule.objects.create(
            name="shop",
            issuer="https://ci.example.com",
            audience="https://portal.example.com",
            claims={"repository": "acme/shop"},
            user=alice,
        ),
        "pool": lambda: Pool.objects.create(blueprint="billing"),
        "maintenance": Maintenance.current,
        "runtimesettings": RuntimeSettings.current,
        "blueprintversion": new_version,
        "engine": lambda: Engine.objects.create(name="east", address="tcp://192.0.2.2:2376"),
        "savepoint": lambda: new_save_point(alice),
        "webhook": lambda: endpoints.create(alice, "http://example.com/", ["sandbox.failed"])[0],
    }
    return rows[page.opts.model_name]()


def new_version() -> BlueprintVersion:
    document = dump(blueprints.load("billing"))
    return BlueprintVersion.objects.create(
        name="billing", digest="a" * 32, document=document, images={}
    )


def new_save_point(owner) -> SavePoint:
    with run_on_commit():
        save_point, _ = save_points.create(launch(owner), "before the upgrade", owner)
    return save_point


@pytest.mark.parametrize("desk_page", PAGES, ids=lambda page: page.opts.label)
def test_all_actions_and_forms_require_a_reason(rf, olga, desk_page):
    asked = rf.get("/")
    asked.user = olga

    assert isinstance(desk_page, PortalAdmin)
    assert desk_page.get_actions(asked).keys() == {
        question.name for question in desk_page.confirmed_actions
    }
    assert not desk_page.list_editable
    assert not desk_page.has_delete_permission(asked)
    assert all(issubclass(inline, ReadOnlyAdminMixin) for inline in desk_page.inlines)


@pytest.mark.parametrize(
    ("desk_page", "question"), ACTS, ids=lambda one: getattr(one, "name", None) or one.opts.label
)
def test_every_action_requires_a_reason_and_is_audited(admin_client, alice, desk_page, question):
    row = prepared(question, subject(desk_page, alice), alice)
    answers = {name: ANSWERS[name] for name in question.form.base_fields if name != "reason"}
    key = str(row.pk)
    run_action(admin_client, question.name, row, **answers, reason=" ")
    assert not AuditEntry.objects.exists()

    run_action(admin_client, question.name, row, **answers, reason="It has to be.")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.model) == (question.name, desk_page.opts.verbose_name)
    assert (entry.subject_key, entry.reason) == (key, "It has to be.")
    assert (entry.actor, entry.address) == ("olga@example.com", "127.0.0.1")
    assert ANSWERS["password"] not in str(entry.changes)


def prepared(question, row, alice):
    """Prepare the row so that the action applies to it."""
    match question.name:
        case "cancel":
            return request(alice)
        case "disable" if isinstance(row, BlueprintVersion):
            row.is_active = True
            row.save()
        case "activate" if isinstance(row, Engine):
            engines.drain(row)
        case "withdraw" if isinstance(row, SavePoint):
            save_points.make_starting_point(row, wanted=True)
        case "retry_removal":
            actions.destroy(row, alice)
        case "lift":
            row.is_active = False
            row.save()
    return row


def as_filled(form):
    """Return the form data that a browser submits; times are split into date and time."""
    for bound in form:
        if isinstance(value := bound.value(), datetime):
            yield from (
                (f"{bound.html_name}_{n}", value.strftime(f"%{c}")) for n, c in enumerate("FT")
            )
        else:
            yield bound.html_name, value


@pytest.mark.parametrize("desk_page", EDITED, ids=lambda page: page.opts.label)
def test_every_form_requires_a_reason_and_is_audited(admin_client, alice, desk_page):
    url = page_of(subject(desk_page, alice))
    form = admin_client.get(url).context["adminform"].form
    data = {name: value for name, value in as_filled(form) if value not in (None, False)}

    for reason, entries in (("", 0), ("It has to be.", 1)):
        admin_client.post(url, data | {"reason": reason})
        assert AuditEntry.objects.filter(action="change", reason=reason).count() == entries
    assert AuditEntry.objects.count() == 1


def test_a_form_records_the_changed_fields(admin_client, alice):
    override = LimitOverride.objects.create(user=alice, max_active=5, reason="workshop")
    data = {"user": alice.pk, "max_active": "8", "reason": "A larger workshop."}
    admin_client.post(page_of(override), data)

    entry = AuditEntry.objects.get()
    assert entry.changes == {"max_active": ["5", "8"]}
    assert (entry.affected_user, entry.reason) == ("alice@example.com", "A larger workshop.")


def test_an_added_row_is_audited(admin_client, alice):
    url = "/admin/auth/group/add/"
    admin_client.post(url, {"name": "students", "reason": ""})
    admin_client.post(url, {"name": "students", "reason": "Course in May."})

    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.reason) == ("add", "students", "Course in May.")


def test_a_new_account_is_audited_without_its_password(admin_client):
    password = ANSWERS["password"]
    data = {"username": "carol", "password1": password, "password2": password}
    admin_client.post(
        "/admin/auth/user/add/", data | {"usable_password": "true", "reason": "No mail."}
    )

    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.reason) == ("add", "carol", "No mail.")
    assert password not in str(entry.changes)


def test_a_rejected_action_is_not_audited(admin_client, alice):
    token, _ = api_tokens.issue(alice, "laptop")
    api_tokens.revoke(token)
    run_action(admin_client, "revoke", token, reason="It leaked.")

    assert not AuditEntry.objects.exists()


@pytest.fixture
def entry(olga, alice) -> AuditEntry:
    return audit.record(AuditActor(olga, "10.1.2.3"), "delete", alice, "=cmd|'/C calc'!A0")


def test_audit_entries_cannot_be_changed_or_deleted(entry):
    entry.reason = "Something else."
    rows = AuditEntry.objects.all()
    acts = (entry.save, entry.delete, rows.delete, lambda: rows.update(reason="else"))
    for act in acts:
        with pytest.raises(AuditIsAppendOnly):
            act()


def test_audit_entries_outlive_accounts(admin_client, alice, olga):
    run_action(admin_client, "delete", alice, reason="She asked for it.")
    entry = AuditEntry.objects.get()

    assert (entry.actor, entry.subject, entry.affected_user) == (
        "olga@example.com",
        "alice",
        "alice@example.com",
    )


def test_the_audit_log_can_be_searched_and_filtered(admin_client, entry, olga, bob):
    audit.record(AuditActor(olga), "set_password", bob, "Locked out.")
    for question, found in (
        ("", {"alice", "bob"}),
        ("?q=alice@", {"alice"}),
        ("?q=Locked", {"bob"}),
        ("?action=delete", {"alice"}),
        (f"?model=user&subject_key={bob.pk}", {"bob"}),
        ("?action=nothing", set()),
    ):
        rows = admin_client.get(AUDIT + question).context["cl"].result_list
        assert {row.subject for row in rows} == found, question
    assert admin_client.get(page_of(entry)).status_code == 200


def test_the_csv_export_uses_the_filters_and_escapes_formulas(admin_client, entry, olga, bob):
    audit.record(AuditActor(olga), "set_password", bob, "Locked out.", {"a": ["", "b"]})
    answer = admin_client.get(f"{AUDIT}export/?action=delete")
    lines = list(csv.DictReader(StringIO(answer.getvalue().decode())))

    assert answer["Content-Type"] == "text/csv"
    assert [line["subject"] for line in lines] == ["alice"]
    assert lines[0]["reason"] == "'=cmd|'/C calc'!A0"
    assert lines[0]["address"] == "10.1.2.3"


def test_the_csv_export_requires_view_permission(client, bob):
    bob.is_staff = True
    bob.save()
    client.force_login(bob)

    assert client.get(f"{AUDIT}export/").status_code == 403


def test_the_history_of_a_row_links_to_the_audit_log(admin_client, alice, bob):
    run_action(
        admin_client, "set_password", alice, password=ANSWERS["password"], reason="Locked out."
    )
    run_action(
        admin_client, "set_password", bob, password=ANSWERS["password"], reason="Locked out, too."
    )
    page = admin_client.get(page_of(alice).replace("change", "history"), follow=True)

    assert [row.subject for row in page.context["cl"].result_list] == ["alice"]


def test_the_audited_address_is_the_client_behind_trusted_proxies(admin_client, alice, settings):
    settings.TRUSTED_PROXY_COUNT = 1
    admin_client.defaults["HTTP_X_FORWARDED_FOR"] = "203.0.113.9, 198.51.100.7"
    run_action(
        admin_client, "set_password", alice, password=ANSWERS["password"], reason="Locked out."
    )

    assert AuditEntry.objects.get().address == "198.51.100.7"
    assert clock.now() - AuditEntry.objects.get().at < timedelta(minutes=1)
