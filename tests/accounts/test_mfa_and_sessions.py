"""Two-factor authentication, encrypted TOTP keys, and the list of sessions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from sandboxes.reaper import housekeeping
from sandboxes.templatetags.user_agents import browser
from tests.conftest import PASSWORD
from tests.helpers.scenarios import totp_code
from tests.helpers.sign_in import FIREFOX, KEY, sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1"


@pytest.fixture
def mfa_required(settings):
    settings.OPERATORS_REQUIRE_MFA = True


@pytest.mark.parametrize("path", ["/admin/", "/admin/sandboxes/sandbox/", "/metrics"])
def test_operators_without_mfa_are_redirected_to_its_setup(admin_client, mfa_required, path):
    response = admin_client.get(path)
    assert response["Location"] == reverse("mfa_activate_totp")


def test_operators_with_mfa_can_open_the_admin(admin_client, olga, mfa_required):
    TOTP.activate(olga, KEY)
    assert admin_client.get("/admin/").status_code == 200


def test_operators_without_mfa_cannot_change_anything(admin_client, alice, mfa_required):
    admin_client.post("/admin/auth/group/add/", {"name": "students", "reason": "Course."})
    from django.contrib.auth.models import Group

    assert not Group.objects.exists()


def test_developers_do_not_need_mfa(web, mfa_required):
    assert web.get("/").status_code == 200


def test_operators_need_only_a_password_without_the_setting(admin_client):
    assert admin_client.get("/admin/").status_code == 200


def test_totp_keys_are_encrypted_in_the_database(alice):
    TOTP.activate(alice, KEY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM mfa_authenticator")
        assert KEY not in str(cursor.fetchall())


def can_sign_in_with_code(user, key: str) -> bool:
    """Return whether the user needs a code and the code of this key completes the sign-in."""
    client = sign_in(user)
    assert client.get("/").status_code == 302
    client.post(reverse("mfa_authenticate"), {"code": totp_code(key)})
    return client.get("/").status_code == 200


@pytest.mark.slow
def test_signing_in_requires_the_totp_code(alice):
    TOTP.activate(alice, KEY)
    assert can_sign_in_with_code(alice, KEY)


def test_unencrypted_totp_keys_from_earlier_versions_still_work(bob):
    # Another key, because each code is accepted once.
    Authenticator.objects.create(user=bob, type="totp", data={"secret": KEY[::-1]})
    assert can_sign_in_with_code(bob, KEY[::-1])


def test_changing_the_password_sends_an_email_with_the_browser_and_address(alice):
    client = sign_in(alice)
    new = {"oldpassword": PASSWORD, "password1": "another horse", "password2": "another horse"}
    client.post(reverse("account_change_password"), new)

    message = mail.outbox[-1]
    assert message.subject == "Your password was changed"
    assert "If you didn't make this change, reset your password now" in message.body
    assert "Browser: Firefox on Linux" in message.body
    assert "IP address: 127.0.0.1" in message.body


def test_sessions_are_listed_with_their_browsers(alice):
    here = sign_in(alice)
    sign_in(alice, PHONE)
    page = here.get(reverse("usersessions_list")).content.decode()
    assert "Firefox on Linux" in page
    assert "Safari on iPhone" in page
    assert page.count("This device") == 1


def test_ending_a_session_keeps_the_others(alice):
    here, lost, third = sign_in(alice), sign_in(alice, PHONE), sign_in(alice)
    row = UserSession.objects.get(user_agent=PHONE)
    page = here.post(reverse("end-session", args=[row.pk]), follow=True).content.decode()
    assert "Signed out." in page
    assert [client.get("/").status_code for client in (here, lost, third)] == [200, 302, 200]


def test_all_other_sessions_can_be_ended_at_once(alice):
    here, other = sign_in(alice), sign_in(alice, PHONE)
    here.post(reverse("usersessions_list"))
    assert [client.get("/").status_code for client in (here, other)] == [200, 302]


def test_other_users_sessions_are_not_found(alice, bob):
    here, his = sign_in(alice), sign_in(bob)
    row = UserSession.objects.get(user=bob)
    assert here.post(reverse("end-session", args=[row.pk])).status_code == 404
    assert his.get("/").status_code == 200


def test_expired_sessions_are_pruned_from_the_list(alice, bob):
    sign_in(alice), sign_in(bob)
    hers = Session.objects.filter(session_key=UserSession.objects.get(user=alice).session_key)
    hers.update(expire_date=timezone.now() - timedelta(seconds=1))
    housekeeping.prune()
    assert [row.user for row in UserSession.objects.all()] == [bob]


def test_signing_out_removes_the_session_from_the_list(alice):
    here, other = sign_in(alice), sign_in(alice, PHONE)
    other.post(reverse("account_logout"))
    assert [row.user_agent for row in UserSession.objects.all()] == [FIREFOX]
    assert here.get("/").status_code == 200


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/126.0 Safari/537.36 Edg/126.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("", "Unknown browser"),
    ],
)
def test_user_agents_have_short_names(user_agent, name):
    assert browser(user_agent) == name
