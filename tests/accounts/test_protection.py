"""What protects an account: a second factor, its encrypted key, and the list of sessions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sandboxes.reaper import housekeeping
from sandboxes.templatetags.user_agents import browser
from tests.conftest import PASSWORD
from tests.helpers.scenarios import code_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1"
KEY = "JBSWY3DPEHPK3PXP"


def signed_in(user, browser: str = FIREFOX) -> Client:
    """A browser that signed in with the form."""
    client = Client(HTTP_USER_AGENT=browser)
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    return client


@pytest.fixture
def demanded(settings):
    settings.OPERATORS_REQUIRE_MFA = True


@pytest.mark.parametrize("path", ["/admin/", "/admin/sandboxes/sandbox/", "/metrics"])
def test_operators_are_led_to_set_up_a_second_factor(desk, demanded, path):
    answer = desk.get(path)
    assert answer["Location"] == reverse("mfa_activate_totp")


def test_with_a_second_factor_the_console_opens(desk, olga, demanded):
    TOTP.activate(olga, KEY)
    assert desk.get("/admin/").status_code == 200


def test_operators_act_on_nothing_before_that(desk, alice, demanded):
    desk.post("/admin/auth/group/add/", {"name": "students", "reason": "Course."})
    from django.contrib.auth.models import Group

    assert not Group.objects.exists()


def test_developers_are_not_asked_for_one(web, demanded):
    assert web.get("/").status_code == 200


def test_without_the_setting_a_password_is_enough(desk):
    assert desk.get("/admin/").status_code == 200


def test_the_key_of_a_second_factor_is_not_in_the_database(alice):
    TOTP.activate(alice, KEY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM mfa_authenticator")
        assert KEY not in str(cursor.fetchall())


def let_in(user, key: str) -> bool:
    """Whether the code of this key lets the user in, who is out before it."""
    client = signed_in(user)
    assert client.get("/").status_code == 302
    client.post(reverse("mfa_authenticate"), {"code": code_of(key)})
    return client.get("/").status_code == 200


def test_a_second_factor_is_asked_for_and_taken(alice):
    TOTP.activate(alice, KEY)
    assert let_in(alice, KEY)


def test_a_second_factor_from_before_keys_were_encrypted_is_taken(bob):
    # Another key: a code is taken once.
    Authenticator.objects.create(user=bob, type="totp", data={"secret": KEY[::-1]})
    assert let_in(bob, KEY[::-1])


def test_changing_the_password_sends_an_email_with_the_browser_and_address(alice):
    client = signed_in(alice)
    new = {"oldpassword": PASSWORD, "password1": "another horse", "password2": "another horse"}
    client.post(reverse("account_change_password"), new)

    message = mail.outbox[-1]
    assert message.subject == "Your password was changed"
    assert "If you didn't make this change, reset your password now" in message.body
    assert "Browser: Firefox on Linux" in message.body
    assert "IP address: 127.0.0.1" in message.body


def test_sessions_are_listed_with_their_browsers(alice):
    here = signed_in(alice)
    signed_in(alice, PHONE)
    page = here.get(reverse("usersessions_list")).content.decode()
    assert "Firefox on Linux" in page
    assert "Safari on iPhone" in page
    assert page.count("This device") == 1


def test_one_session_is_signed_out_and_the_others_stay(alice):
    here, lost, third = signed_in(alice), signed_in(alice, PHONE), signed_in(alice)
    row = UserSession.objects.get(user_agent=PHONE)
    page = here.post(reverse("end-session", args=[row.pk]), follow=True).content.decode()
    assert "Signed out." in page
    assert [client.get("/").status_code for client in (here, lost, third)] == [200, 302, 200]


def test_all_other_sessions_are_signed_out_at_once(alice):
    here, other = signed_in(alice), signed_in(alice, PHONE)
    here.post(reverse("usersessions_list"))
    assert [client.get("/").status_code for client in (here, other)] == [200, 302]


def test_sessions_of_others_are_not_there(alice, bob):
    here, his = signed_in(alice), signed_in(bob)
    row = UserSession.objects.get(user=bob)
    assert here.post(reverse("end-session", args=[row.pk])).status_code == 404
    assert his.get("/").status_code == 200


def test_what_is_known_of_a_session_goes_when_it_expires(alice, bob):
    signed_in(alice), signed_in(bob)
    hers = Session.objects.filter(session_key=UserSession.objects.get(user=alice).session_key)
    hers.update(expire_date=timezone.now() - timedelta(seconds=1))
    housekeeping.prune()
    assert [row.user for row in UserSession.objects.all()] == [bob]


def test_who_signs_out_is_off_the_list(alice):
    here, other = signed_in(alice), signed_in(alice, PHONE)
    other.post(reverse("account_logout"))
    assert [row.user_agent for row in UserSession.objects.all()] == [FIREFOX]
    assert here.get("/").status_code == 200


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/126.0 Safari/537.36 Edg/126.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("", "Unknown browser"),
    ],
)
def test_a_browser_has_a_short_name(said, name):
    assert browser(said) == name
