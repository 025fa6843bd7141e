"""The page of save points, and the actions on it."""

from __future__ import annotations

import pytest
from django.test import Client

from sandboxes.actions import save_points
from sandboxes.models import SavePoint
from tests.helpers.scenarios import launch, run_on_commit

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(alice, runtime) -> Client:
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def sandbox(alice, runtime):
    return launch(alice, name="checkout")


def saved(page, sandbox):
    with run_on_commit():
        answer = page.post(f"/sandboxes/{sandbox.public_id}/save-points/", {"name": "before"})
    assert answer["Location"] == "/save-points/"
    return SavePoint.objects.get()


def test_a_sandbox_is_saved_restored_and_its_save_point_renamed_and_deleted(page, sandbox):
    row = saved(page, sandbox)
    one = f"/save-points/{row.public_id}"
    assert b"before" in page.get("/save-points/").content
    with run_on_commit():
        assert page.post(f"{one}/restore/")["Location"] == f"/sandboxes/{sandbox.public_id}/"
    assert b"Restoration finished in" in page.get(f"/sandboxes/{sandbox.public_id}/").content
    assert (
        b"Renamed to after." in page.post(f"{one}/rename/", {"name": "after"}, follow=True).content
    )
    with run_on_commit():
        assert b"Deleted after." in page.post(f"{one}/delete/", follow=True).content
    assert not SavePoint.objects.exists()


def test_a_sandbox_is_launched_from_a_starting_point_of_another_user(page, sandbox, bob):
    row = saved(page, sandbox)
    save_points.make_starting_point(row, wanted=True)
    other = Client()
    other.force_login(bob)
    assert b"Starting points" in other.get("/save-points/").content
    other.post(f"/save-points/{row.public_id}/launch/")
    assert bob.sandboxes.get().launched_from == row


def test_a_refusal_is_shown_and_changes_nothing(page, sandbox, settings):
    settings.SANDBOX_SAVE_POINTS_PER_USER = 0
    answer = page.post(f"/sandboxes/{sandbox.public_id}/save-points/", {"name": "x"}, follow=True)
    assert b"Save points are disabled" in answer.content
    assert not SavePoint.objects.exists()
